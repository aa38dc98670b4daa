"""Random bases and adapters for the benchmarks: real shapes, no weights to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from atlas.weights.adapted_module import PREFIX
from atlas.weights.adapters import write_adapter

TARGETS = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj", "gate_proj")


def write_adapters(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], count: int, rank: int = 8
) -> list[Path]:
    """Write LoRA adapters with weights from a normal distribution, each from a seed of its own.

    :param shapes: name of a weight of the base -> its shape.
    :returns: their folders.
    """
    folders = []
    for number in range(count):
        place = folder / f"random-{number:03d}"
        place.mkdir(parents=True)
        draw = torch.Generator().manual_seed(number)
        tensors: dict[str, torch.Tensor] = {}
        for name, shape in sorted(shapes.items()):
            module = name.removesuffix(".weight")
            if module.rpartition(".")[2] not in TARGETS:
                continue
            rows, columns = shape
            for half, size in (("A", (rank, columns)), ("B", (rows, rank))):
                key = f"{PREFIX}{module}.lora_{half}.weight"
                tensors[key] = torch.randn(size, generator=draw) * 0.02
        settings: dict[str, Any] = {
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank,
            "lora_dropout": 0.0, "bias": "none", "target_modules": sorted(TARGETS),
            "inference_mode": True, "base_model_name_or_path": None,
        }  # fmt: skip
        write_adapter(
            place / "adapter_model.safetensors", place / "adapter_config.json", tensors, settings,
            {},
        )  # fmt: skip
        folders.append(place)
    return folders


def write_tokenizer(folder: Path, prompts: Sequence[str]) -> None:
    """A tokenizer that makes one token of each word of the prompts, about as a trained one does."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = {word for prompt in prompts for word, _ in split.pre_tokenize_str(prompt)}
    names = ["<pad>", "<s>", "</s>", "<unk>", *sorted(words)]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, "<unk>"))
    backend.pre_tokenizer = split
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        unk_token="<unk>",
    ).save_pretrained(folder)  # fmt: skip
