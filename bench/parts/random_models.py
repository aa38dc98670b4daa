"""Random bases, models and adapters for the benchmarks: real shapes, no weights to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from atlas.digests import weights_digest
from atlas.files import read_json, write_json
from atlas.networks.tokens import byte_tokenizer
from atlas.weights.adapted_module import PREFIX
from atlas.weights.adapters import write_adapter
from atlas.weights.row_blocks import StreamWriter, row_blocks

TARGETS = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj", "gate_proj")
SHAPES: dict[str, dict[str, Any]] = {
    "llama-8b": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 131072, "rope_theta": 500000.0, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    },
    "smollm2-135m": {
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
    "tiny": {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
        "tie_word_embeddings": True,
    },
}  # fmt: skip
MODELS = ("base", "instruct", "model")


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


def shapes_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Tensors of a llama: name -> shape."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **config))
    names = dict(network.state_dict())
    if config["tie_word_embeddings"]:
        names.pop("lm_head.weight", None)
    return {name: tuple(tensor.shape) for name, tensor in names.items()}


def make_base(folder: Path, config: dict[str, Any], dtype: torch.dtype) -> None:
    """A random llama without a tokenizer; the same numbers stand in each of its matrices."""
    folder.mkdir(parents=True)
    settings = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **config}
    write_json(folder / "config.json", {**settings, "dtype": plain(dtype)})
    shapes = shapes_of(config)
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) * 0.02
    kinds = {key: (dtype, shape) for key, shape in shapes.items()}
    with StreamWriter(folder / "model.safetensors", kinds, {"format": "pt"}) as writer:
        for key, shape in shapes.items():
            columns = shape[-1] if len(shape) > 1 else 1
            for first, after in row_blocks(shape):
                count = (after - first) * columns
                values = noise.roll(first % 1000)[:count] + (1.0 if len(shape) == 1 else 0.0)
                writer.write(key, first * columns, values.to(dtype))
    write_json(folder / "base.json", {"name": folder.name, "weights_sha256": writer.sha256})


def make_models(place: Path, config: dict[str, Any], dtype: torch.dtype) -> None:
    """A random base, and two models a little away from it, each a whole folder."""
    shapes = shapes_of(config)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1 << 20, generator=generator)
    for number, name in enumerate(MODELS):
        folder = place / name
        folder.mkdir()
        settings = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **config}
        write_json(folder / "config.json", {**settings, "dtype": plain(dtype)})
        byte_tokenizer().save_pretrained(folder, save_jinja_files=False)
        kinds = {key: (dtype, shape) for key, shape in shapes.items()}
        metadata = {"format": "pt"}
        if name == "model":  # as training records it
            metadata["base_sha256"] = read_json(place / "base" / "base.json")["weights_sha256"]
        with StreamWriter(folder / "model.safetensors", kinds, metadata) as writer:
            for key, shape in shapes.items():
                columns = shape[-1] if len(shape) > 1 else 1
                for first, after in row_blocks(shape):
                    count = (after - first) * columns
                    values = noise[:count] * 0.02
                    if number:
                        shift = (first * 7 + number * 13) % 1000
                        values = values + noise.roll(shift)[:count] * 0.002
                    writer.write(key, first * columns, values.to(dtype))
        write_json(folder / "base.json", {
            "name": name, "licence": "mit", "origin": {"random": True},
            "weights_sha256": weights_digest([folder / "model.safetensors"]),
        })  # fmt: skip


def plain(dtype: torch.dtype) -> str:
    """A dtype as config.json names it."""
    return str(dtype).removeprefix("torch.")


def files(folder: Path) -> list[Path]:
    """Files of a model, as rules name them."""
    return sorted(p for p in folder.iterdir() if p.is_file())
