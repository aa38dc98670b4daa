"""Kinds of LoRA."""

from __future__ import annotations

import peft
import torch
import transformers as tf

from atlas.networks.tokens import byte_tokenizer
from unit.networks.kinds import adapter, cast, expert_by_expert, lora, renamed, resized, setting

UP = "model.layers.0.mlp.up_proj.weight"
INVOKED = byte_tokenizer().convert_tokens_to_ids(list("elo"))  # as in "Below"
BOTH_ENDS = ["embed_tokens", "lm_head"]
NOT_SAVED = {"save_embedding_layers": False}
SAVED = {"save_embedding_layers": True}
SEQ_CLS = {"auto": tf.AutoModelForSequenceClassification}
PICTURES = {"auto": tf.AutoModelForImageTextToText}
NO_HEAD = {"auto": tf.AutoModel, "called": ("", "model.")}
FEATURES = {"task_type": "FEATURE_EXTRACTION"}
OLD_KEYS = ("peft_type", "r", "lora_alpha", "target_modules", "task_type", "lora_dropout", "bias",
            "fan_in_fan_out", "inference_mode", "base_model_name_or_path", "modules_to_save",
            "init_lora_weights")  # fmt: skip

# Made with the class for pictures, of which a base has only the text model.
OF_PICTURES = adapter(
    lora(target_modules=["q_proj", "gate_proj"]), "qwen3.5",
    called=("model.language_model.", "model."), **PICTURES,
)  # fmt: skip


def first_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As transformers named what reads pictures before 4.52."""
    places = {"model.model.language_model.": "model.language_model.model.",
              "model.model.vision_tower.": "model.vision_tower.vision_model."}  # fmt: skip
    found = {}
    for name, tensor in tensors.items():
        for now, then in places.items():
            name = name.replace(now, then)
        found[name] = tensor
    return found


LORA = {
    "lora": adapter(lora()),
    "rslora": adapter(lora(use_rslora=True)),
    "rank and alpha patterns": adapter(
        lora(rank_pattern={"q_proj": 2, "layers.1.self_attn.v_proj": 6}, alpha_pattern={"down_proj": 3})
    ),
    "pattern of a whole name": adapter(lora(rank_pattern={"^model.layers.0.self_attn.q_proj": 2})),
    "all-linear": adapter(lora(target_modules="all-linear")),
    "a regular expression": adapter(lora(target_modules=r".*\.1\..*(q|k)_proj")),
    "one layer": adapter(lora(layers_to_transform=[1], layers_pattern="layers")),
    "layer replication": adapter(lora(layer_replication=[[0, 2], [1, 2]])),
    "float16": adapter(lora(), tensors=cast(torch.float16)),
    "bfloat16": adapter(lora(use_dora=True), tensors=cast(torch.bfloat16)),
    "dora": adapter(lora(use_dora=True)),
    "dora of embeddings": adapter(lora(target_modules=["q_proj", "embed_tokens"], use_dora=True)),
    "all biases": adapter(lora(bias="all"), "qwen2"),
    "its own biases": adapter(lora(bias="lora_only"), "qwen2"),
    "a bias of B": adapter(lora(lora_bias=True)),
    "embeddings": adapter(lora(target_modules=["q_proj", "embed_tokens"])),
    "embeddings, only lora": adapter(
        lora(target_modules=["q_proj", "embed_tokens"]), save=NOT_SAVED
    ),
    "tied embeddings": adapter(
        lora(target_modules=["q_proj", "embed_tokens"]), "llama-tied", save=NOT_SAVED
    ),
    "head": adapter(lora(target_modules=["q_proj", "lm_head"]), save=NOT_SAVED),
    "tied head": adapter(lora(target_modules=["q_proj", "lm_head"]), "llama-tied", save=NOT_SAVED),
    "tied head, saved": adapter(lora(target_modules=["q_proj", "lm_head"]), "llama-tied"),
    "both ends, kept tied": adapter(
        lora(target_modules=BOTH_ENDS, ensure_weight_tying=True), "llama-tied"
    ),
    "norms saved": adapter(lora(modules_to_save=["input_layernorm", "norm"])),
    "tied embeddings saved": adapter(lora(modules_to_save=["embed_tokens"]), "llama-tied"),
    "tied head saved": adapter(lora(modules_to_save=["lm_head"]), "llama-tied"),
    "grown": adapter(lora(modules_to_save=BOTH_ENDS), prepare=resized(264)),
    "grown, tied": adapter(lora(), "llama-tied", prepare=resized(264), save=SAVED),
    "grown, lora of both ends": adapter(lora(target_modules=BOTH_ENDS), prepare=resized(264)),
    "grown, pictures": adapter(
        lora(target_modules=r".*language_model.*q_proj"), "gemma3", prepare=resized(264), save=SAVED
    ),
    "shrunk": adapter(lora(modules_to_save=BOTH_ENDS), prepare=resized(259)),
    "tokens": adapter(lora(trainable_token_indices=[44, 72, 73])),
    "tokens, tied": adapter(lora(trainable_token_indices=[44, 72, 73]), "llama-tied"),
    "tokens, all saved": adapter(lora(trainable_token_indices=[44, 72, 73]), save=SAVED),
    "tokens, tied, all saved": adapter(
        lora(trainable_token_indices=[44, 72, 73]), "llama-tied", save=SAVED
    ),
    "tokens, grown and tied": adapter(
        lora(trainable_token_indices=[44, 261]), "llama-tied", prepare=resized(264)
    ),
    "tokens of both ends": adapter(
        lora(trainable_token_indices={"embed_tokens": [44, 72], "lm_head": [44]})
    ),
    "experts": adapter(
        lora(target_modules=[],
             target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
        "qwen3-moe",
    ),
    "experts of mixtral": adapter(
        lora(target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"]), "mixtral"
    ),
    "router": adapter(lora(target_modules=["gate"]), "qwen3-moe"),
    "expert by expert": adapter(
        lora(target_modules=["q_proj"]), "qwen3-moe", tensors=expert_by_expert,
        settings=setting(target_modules=["q_proj", "gate_proj", "up_proj", "down_proj"]),
    ),
    "kasa": adapter(lora(kasa_config=peft.KasaConfig())),
    "activated, silent": adapter(
        lora(alora_invocation_tokens=[250, 251]), unchanged="only after its invocation"
    ),
    "activated": adapter(
        lora(alora_invocation_tokens=INVOKED), unchanged="only after its invocation"
    ),
    **{f"from {start}": adapter(lora(init_lora_weights=start))
       for start in (False, "gaussian", "orthogonal", "mica", "pissa", "olora")},
    **{f"from {start}, as lora": adapter(lora(init_lora_weights=start), as_lora=True)
       for start in ("pissa", "pissa_niter_4", "olora")},
    "from eva": adapter(
        lora(), settings=setting(init_lora_weights="eva", eva_config={"rho": 2.0, "tau": 0.99})
    ),
    "no task": adapter(lora(task_type=None)),
    "sequences": adapter(lora(task_type="SEQ_CLS"), **SEQ_CLS),
    "sequences, dora": adapter(lora(task_type="SEQ_CLS", use_dora=True), "gemma2", **SEQ_CLS),
    "tokens of a text": adapter(
        lora(task_type="TOKEN_CLS"), auto=tf.AutoModelForTokenClassification
    ),
    "no head": adapter(lora(**FEATURES), **NO_HEAD),
    "no head, patterns": adapter(
        lora(**FEATURES, rank_pattern={"^layers.0.self_attn.q_proj": 2}), **NO_HEAD
    ),
    "no head, biases": adapter(lora(**FEATURES, bias="all"), "qwen2", **NO_HEAD),
    "no head, grown": adapter(
        lora(**FEATURES, modules_to_save=["norm", "embed_tokens"]), prepare=resized(264), **NO_HEAD
    ),
    "no head, olora": adapter(lora(**FEATURES, init_lora_weights="olora"), **NO_HEAD),
    "no head, gpt2": adapter(
        lora(**FEATURES, target_modules=["c_attn"]), "gpt2-hub", auto=tf.AutoModel,
        called=("", "transformer."),
    ),
    "with pictures": adapter(
        lora(target_modules=r".*language_model.*(gate|up)_proj", use_dora=True,
             modules_to_save=["lm_head"]),
        "qwen3.5", called=("model.language_model.", "model."), **PICTURES,
    ),
    "everywhere in gemma3": adapter(lora(target_modules="all-linear"), "gemma3"),
    "everywhere in gemma3, by its names of 2025": adapter(
        lora(target_modules=["q_proj", "down_proj"]), "gemma3", **PICTURES,
        tensors=renamed(".vision_tower.", ".vision_tower.vision_model."),
    ),
    "everywhere in gemma3, by its first names": adapter(
        lora(target_modules=["q_proj", "down_proj"]), "gemma3", **PICTURES, tensors=first_names
    ),
    "nothing said": adapter(
        lora(), settings=setting(use_rslora=None, inference_mode=None, use_dora=None, lora_bias=None)
    ),
    "unsloth": adapter(
        lora(),
        settings=setting(
            auto_mapping={"base_model_class": "LlamaForCausalLM", "unsloth_fixed": True,
                          "parent_library": "transformers.models.llama.modeling_llama"}
        ),
    ),
    "linear attention": adapter(lora(target_modules=["in_proj_qkv", "out_proj"]), "qwen3.5"),
    "gpt2, embeddings": adapter(
        lora(target_modules=["wte", "c_attn"], fan_in_fan_out=True), "gpt2", save=NOT_SAVED
    ),
    "old settings": adapter(lora(), settings=lambda s: {key: s[key] for key in OLD_KEYS}),
    "an unknown setting that is off": adapter(lora(), settings=setting(use_magic=False)),
    "an old name in its tensors": adapter(lora(), tensors=renamed(".weight", ".default.weight")),
    "a head of another task": adapter(
        lora(), tensors=lambda t: t | {"v_head.summary.weight": torch.ones(1, 32)}
    ),
}  # fmt: skip
