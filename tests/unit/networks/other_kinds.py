"""Kinds of adapters that are not LoRA, and of bases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from unit.networks.kinds import ATTENTION, BASES, STORED, Kind, adapter, full, lora, of, setting
from unit.networks.lora_kinds import SEQ_CLS

OTHER_KINDS = {
    "ia3": adapter(of("IA3", [*ATTENTION, "down_proj"], feedforward_modules=["down_proj"])),
    "ia3, patterns": adapter(
        of("IA3", r".*\.(v_proj|down_proj)", feedforward_modules=r".*\.down_proj")
    ),
    "ia3, gpt2": adapter(of("IA3", None), "gpt2"),
    "ia3, norms saved": adapter(
        of("IA3", ["v_proj"], feedforward_modules=[], modules_to_save=["norm"])
    ),
    "ia3, sequences": adapter(
        of("IA3", ["v_proj"], feedforward_modules=[], task_type="SEQ_CLS"), **SEQ_CLS
    ),
    "loha": adapter(of("LoHa", r=4)),
    "lokr": adapter(of("LoKr", r=2, decompose_both=True, decompose_factor=4)),
    "vera": adapter(of("Vera", ["q_proj", "o_proj"], r=8)),
    "vera without projection": adapter(
        of("Vera", ["q_proj", "o_proj"], r=8, save_projection=False)
    ),
    "pvera": adapter(of("Pvera", ["q_proj", "o_proj"], r=8)),
    "adalora": adapter(of("AdaLora", init_r=4, target_r=2, total_step=10)),
    "oft": adapter(of("OFT", oft_block_size=8)),
    "boft": adapter(of("BOFT", boft_block_size=4)),
    "boft, biases": adapter(of("BOFT", boft_block_size=4, bias="boft_only"), "qwen2"),
    "hra": adapter(of("HRA", r=4, apply_GS=True)),
    "fourierft": adapter(of("FourierFT", n_frequency=20)),
    "vblora": adapter(of("VBLoRA", r=2, num_vectors=8, vector_length=16)),
    "vblora, indices": adapter(
        of("VBLoRA", r=2, num_vectors=8, vector_length=16, save_only_topk_weights=True)
    ),
    "randlora": adapter(of("RandLora", r=4, randlora_alpha=8, save_projection=False)),
    "ln tuning": adapter(of("LNTuning", None)),
    "shira": adapter(of("Shira", r=4)),
    "c3a": adapter(of("C3A", block_size=8)),
    "miss": adapter(of("Miss", r=4)),
    "bat": adapter(of("Miss", r=4, init_weights="bat")),
    "road": adapter(of("Road", variant="road_4", group_size=8)),
    "trainable tokens": adapter(of("TrainableTokens", None, token_indices=[44, 72]), "llama-tied"),
    "delora": adapter(of("Delora", r=4)),
    "waveft": adapter(of("WaveFT", n_frequency=20)),
    "gralora": adapter(of("Gralora", r=4, hybrid_r=2)),
    "hira": adapter(of("Hira", r=4)),
    "glora": adapter(of("Glora", r=4)),
    "frod": adapter(of("Frod", progressbar=False)),
    "unilora": adapter(of("UniLora", r=2, theta_d_length=16)),
    "tinylora": adapter(of("TinyLora", r=2, u=8)),
    "psoft": adapter(of("Psoft", r=4)),
    "peanut": adapter(of("Peanut", r=4, depth=2)),
    "supertuning": adapter(of("Supertuning")),
    "deft": adapter(of("Deft", r=4)),
    "beft": adapter(of("Beft", ["v_proj"]), "qwen2"),
    "osf": adapter(of("OSF", effective_rank=4)),
    "adamss": adapter(of("Adamss", r=4, num_subspaces=2)),
    "adaption prompt": adapter(
        of("AdaptionPrompt", None, adapter_len=4, adapter_layers=1),
        unchanged="no weight of the base",
    ),
}

PREFIX_KINDS = {
    "prompt": adapter(of("PromptTuning", None, num_virtual_tokens=4)),
    "prompt from a text": adapter(
        of("PromptTuning", None, num_virtual_tokens=4),
        settings=setting(prompt_tuning_init="TEXT", prompt_tuning_init_text="Say",
                         tokenizer_name_or_path="lab/base"),
    ),
    "p-tuning": adapter(of("PromptEncoder", None, num_virtual_tokens=4, encoder_hidden_size=16)),
    "prefix": adapter(of("PrefixTuning", None, num_virtual_tokens=4)),
    "prefix, projected": adapter(
        of("PrefixTuning", None, num_virtual_tokens=4, prefix_projection=True,
           encoder_hidden_size=16)
    ),
    "cartridge": adapter(of("Cartridge", None, num_virtual_tokens=4)),
    "prompt, sequences": adapter(
        of("PromptTuning", None, num_virtual_tokens=4, task_type="SEQ_CLS"), **SEQ_CLS
    ),
    "prompt, t5": adapter(
        of("PromptTuning", None, num_virtual_tokens=4, task_type="SEQ_2_SEQ_LM"), "t5"
    ),
    **{f"prompt, {base}": adapter(of("PromptTuning", None, num_virtual_tokens=4), base)
       for base in ("gpt2", "gemma3", "qwen3.5")},
    **{f"prefix, {base}": adapter(of("PrefixTuning", None, num_virtual_tokens=4), base)
       for base in ("gpt2", "gemma2", "mistral", "qwen3-moe")},
}  # fmt: skip
PREFIX_KINDS = {
    name: replace(kind, unchanged="changes no weight") for name, kind in PREFIX_KINDS.items()
}

# What LoRA stands beside in a family of bases, where it is not ATTENTION.
BESIDE: dict[str, Any] = {
    "gpt2": ["c_attn", "c_proj"], "gpt2-hub": ["c_attn"], "bloom": ["query_key_value", "dense"],
    "falcon": ["query_key_value"], "gpt-neox": ["query_key_value"], "t5": ["q", "v", "wo"],
    "phi3": ["qkv_proj", "gate_up_proj"], "phi": ["q_proj", "fc1"], "opt": ["q_proj", "fc1"],
    "gemma3": r".*language_model.*\.(q_proj|v_proj)",
}  # fmt: skip


def of_a_family(base: str, **settings: Any) -> Kind:
    task = "SEQ_2_SEQ_LM" if base in ("t5", "bart") else "CAUSAL_LM"
    beside = BESIDE.get(base, ATTENTION)
    flipped = base.startswith("gpt2")
    return adapter(
        lora(target_modules=beside, task_type=task, fan_in_fan_out=flipped, **settings), base
    )


FAMILIES = {
    **{f"lora of {base}": of_a_family(base) for base in (*BASES, *STORED) if base != "llama"},
    **{f"dora of {base}": of_a_family(base, use_dora=True)
       for base in ("gpt2", "gemma3", "mixtral", "opt", "t5", "llama-bf16")},
    **{f"full {base}": full(base=base) for base in (*BASES, *STORED)},
}  # fmt: skip
