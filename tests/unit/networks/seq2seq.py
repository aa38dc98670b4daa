"""A tiny random T5 and adapters of it, for tests of sequence-to-sequence bases."""

from __future__ import annotations

from pathlib import Path

import torch

from unit.conftest import make_base, randomize

T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2,
      "relative_attention_num_buckets": 8, "dropout_rate": 0.0}  # fmt: skip
TINY_T5 = {"random": {"architecture": "t5", "seed": 5, "config": T5}}


def make_t5(folder: Path) -> list[Path]:
    """Files of a random T5, base.json first."""
    return make_base(folder, TINY_T5)


def load_t5(folder: Path):
    from transformers import AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()


def make_t5_lora(base: Path, folder: Path, seed: int, r: int = 4, alpha: int = 8) -> list[Path]:
    """An adapter that PEFT makes and saves."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM")
    network = get_peft_model(load_t5(base), config)
    randomize(network, seed, 0.3, lambda name: "lora_" in name)
    network.save_pretrained(folder)
    return [folder / "adapter_config.json", folder / "adapter_model.safetensors"]
