"""Models for the tests of instruction deltas: a base, models a little away from it, their files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from atlas.deltas.instruction_deltas import make_delta
from atlas.deltas.merged_models import apply_delta
from atlas.digests import weights_digest
from atlas.files import read_json
from atlas.plan.resolved import weight_names
from atlas.weights.tensors import Weights, write_safetensors, write_shards
from unit.conftest import LLAMA, make_base

Q = "model.layers.0.self_attn.q_proj.weight"
UNTIED = {"random": {"architecture": "llama", "seed": 3, "config": LLAMA}}
TIED = {
    "random": {
        "architecture": "llama", "seed": 3, "config": {**LLAMA, "tie_word_embeddings": True},
    }
}  # fmt: skip


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file())


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    store = Weights(files(folder))
    return {name: store[name].clone() for name in store}


def write(folder: Path, weights, shards=1, metadata=None) -> Path:
    """Weights of a model in a folder of its own, with index where there are several files."""
    for old in folder.glob("*.safetensors*"):
        old.unlink()
    names = weight_names(shards)
    if shards == 1 and metadata is not None:
        write_safetensors(folder / names[0], weights, {"format": "pt", **metadata})
    else:
        write_shards([folder / name for name in names], names, weights)
    return folder


def moved(base: Path, folder: Path, seed: int, scale=1e-3, shards=1, metadata=None, change=None):
    """A model whose weights are those of the base moved at random, or as `change` says."""
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("cache", "base.json"))
    generator = torch.Generator().manual_seed(seed)
    weights = tensors(base)
    for name, value in weights.items():
        noise = torch.randn(value.shape, generator=generator) * scale
        weights[name] = (value.float() + noise).to(value.dtype)
    if change:
        change(weights)
    return write(folder, weights, shards, metadata)


def family(place: Path, source=UNTIED, dtype="float32", shards=1, base_shards=1):
    """A base, an instruct model, and a model that records the base: their folders."""
    make_base(place / "base", source, dtype, base_shards)
    digest = weights_digest(files(place / "base"))
    instruct = moved(place / "base", place / "instruct", 1, shards=shards)
    settings = json.loads((instruct / "config.json").read_text())
    (instruct / "config.json").write_text(json.dumps({**settings, "eos_token_id": 3}))
    model = moved(place / "base", place / "model", 2, metadata={"base_sha256": digest})
    return place / "base", instruct, model


def delta_of(
    base: Path, instruct: Path, out: Path, dtype="float32", keep=None, rank=None, digests=None
):
    """Make a delta and return its two files."""
    out.mkdir(exist_ok=True)
    found = out / "delta.safetensors", out / "delta_meta.json"
    make_delta(
        name=out.name, base=files(base), instruct=files(instruct), dtype=dtype, keep=keep, rank=rank,
        delta=found[0], meta=found[1], digests=digests,
    )  # fmt: skip
    return found


def merge(
    model: Path, base: Path, instruct: Path, delta: tuple[Path, Path], out: Path, shards=1,
    force=False, model_base: Path | None = None, names=("base",), digests=None,
) -> Path:  # fmt: skip
    """Apply a delta and return the folder of the merged model."""
    out.mkdir(exist_ok=True)
    final = weight_names(shards)
    apply_delta(
        name=out.name, model=files(model), model_base=files(model_base or base),
        base_names=list(names), base=files(base), instruct=files(instruct), delta=delta[0],
        meta=delta[1], force=force, address=["base", None], sentence="", weight_names=final,
        weights=[out / name for name in final], config=out / "config.json",
        generation=out / "generation_config.json",
        tokenizer=out / "tokenizer.json", tokenizer_config=out / "tokenizer_config.json",
        card=out / "README.md", digests=digests,
    )  # fmt: skip
    return out


def record_base(folder, base):
    """Record the digest of a base in an adapter, as training does."""
    file = folder / "adapter_model.safetensors"
    store = Weights([file])
    weights = {name: store[name].clone() for name in store}
    digest = read_json(base / "base.json")["weights_sha256"]
    write_safetensors(file, weights, {"format": "pt", "base_sha256": digest})


def plain_models(folder, ours, theirs):
    for name, weights in (("base", ours), ("instruct", theirs)):
        place = folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "config.json").write_text('{"model_type": "llama"}')
        write(place, weights)
    return folder / "base", folder / "instruct"
