"""Shared fixtures: tiny random bases and one model of each kind, made by the reference libraries."""

from __future__ import annotations

from pathlib import Path

import h5py
import hypothesis
import pytest
import torch

from atlas.plan.resolved import weight_names
from atlas.sources.bases import fetch_base
from unit.job.runs import Run

torch.set_num_threads(1)
hypothesis.settings.register_profile(
    "atlas", deadline=None, derandomize=True, database=None, max_examples=40
)
hypothesis.settings.load_profile("atlas")

LLAMA = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
TINY_BASE = {"random": {"architecture": "llama", "seed": 3, "config": LLAMA}}


def make_base(folder: Path, source=TINY_BASE, dtype="float32", shards=1, licence="mit", **more):
    """Fetch a base into a folder and return its files, base.json first."""
    folder.mkdir(parents=True)
    names = weight_names(shards)
    files = [folder / n for n in ("base.json", "config.json", "tokenizer.json")]
    files.append(folder / "tokenizer_config.json")
    weights = [folder / n for n in names]
    fetch_base(
        name=folder.name, source=source, dtype=dtype, licence=licence, cache=str(folder / "cache"),
        weight_names=names, record=files[0], config=files[1], tokenizer=files[2],
        tokenizer_config=files[3], weights=weights, **more,
    )  # fmt: skip
    return [*files, *weights]


def load(folder: Path):
    """A fresh network of a base, as transformers loads it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def randomize(network, seed, scale=0.05, only=lambda name: True):
    """Move the parameters that `only` picks by random amounts."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if only(name):
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(scale * noise)


def make_adapter(base: Path, folder: Path, config, seed):
    """An adapter that PEFT makes and saves, with weights that do something."""
    from peft import get_peft_model

    network = get_peft_model(load(base), config)
    randomize(network, seed, 0.3, lambda name: "lora_" in name or "ia3_" in name)
    network.save_pretrained(folder)
    return [folder / "adapter_config.json", folder / "adapter_model.safetensors"]


def make_lora(base: Path, folder: Path, r, targets, seed, alpha=16, **more):
    from peft import LoraConfig

    config = LoraConfig(
        r=r, lora_alpha=alpha, target_modules=targets, task_type="CAUSAL_LM", **more
    )
    return make_adapter(base, folder, config, seed)


def make_ia3(base: Path, folder: Path, seed):
    from peft import IA3Config

    config = IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"],
        task_type="CAUSAL_LM",
    )  # fmt: skip
    return make_adapter(base, folder, config, seed)


def make_full(base: Path, folder: Path, seed):
    """A full model: the base, moved everywhere."""
    network = load(base)
    randomize(network, seed)
    network.save_pretrained(folder)
    return [folder / "config.json", folder / "model.safetensors"]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    """Files of a tiny random llama, base.json first."""
    return make_base(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def base_folder(tiny_base):
    return tiny_base[0].parent


@pytest.fixture(scope="session")
def mixed_pool(base_folder, tmp_path_factory):
    """Model name -> files: LoRA of two ranks and targets, IA3 and full weights."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "lora4": make_lora(base_folder, folder / "lora4", 4, ["q_proj", "v_proj"], 1),
        "lora8": make_lora(base_folder, folder / "lora8", 8, ["o_proj", "up_proj"], 2, alpha=4),
        "ia3": make_ia3(base_folder, folder / "ia3", 3),
        "full": make_full(base_folder, folder / "full", 4),
    }


@pytest.fixture(scope="session")
def lora_pool(base_folder, tmp_path_factory):
    """Four adapters of one shape."""
    folder = tmp_path_factory.mktemp("lora-models")
    return {
        f"m{i}": make_lora(base_folder, folder / f"m{i}", 4, ["q_proj", "down_proj"], 10 + i)
        for i in range(4)
    }


@pytest.fixture(scope="session")
def world(tmp_path_factory, tiny_base, mixed_pool):
    """Two bases that share nothing, five models, probes, continuations, and their features."""
    from unit.activations.feature_world import make_world

    return make_world(tmp_path_factory.mktemp("family"), tiny_base, mixed_pool)


@pytest.fixture
def probes(tmp_path):
    """Three openings of different lengths."""
    file = tmp_path / "probes.txt"
    file.write_text("Describe it.\nBelow is an instruction.\n\nSay more about the task.\n")
    return file


def read_activations(path):
    """Probes, activations of bases and activations of models of a shard or a pool, plainly."""
    with h5py.File(path) as file:
        prompts = [text.decode() for text in file["probes"][:]]
        bases, models = (
            {name: item["last_token"][:] for name, item in file.get(group, {}).items()}
            for group in ("bases", "models")
        )
    return prompts, bases, models


def described(names, base="tiny", domains=None):
    """Models as rules describe them."""
    domains = domains or ["a", "a", "b", "b"]
    return [{"name": n, "base": base, "domain": d} for n, d in zip(names, domains, strict=False)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


@pytest.fixture
def chain(run: Run) -> Run:
    run.chain()
    return run
