"""Flattened weights: all tensors of an adapter as one long vector, compared by cosine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atlas.files import by_folder
from atlas.progress import Progress
from atlas.spaces.embeddings import Embeddings, about, cosine_of_gram, write_embeddings
from atlas.spaces.large_pools import ALL_PAIRS, TOO_MANY
from atlas.weights.tensors import Weights

BLOCK = 1 << 24  # elements held at a time, of all models together


def embed(
    *, bases: list[Path], weights: list[Path], models: list[dict[str, Any]], embeddings: Path
) -> None:
    """Embed a pool: exact similarities, accumulated block by block in float64.

    Of an adapter all tensors count, as published; of full models, which share most of their base,
    the differences from it. A pool whose models differ in the names or shapes of their tensors
    (other ranks, other kinds) has no common dimension: the reason is stored instead.

    :param bases: files of the bases, where all models are full ones.
    """
    if len(models) > ALL_PAIRS:
        none = Embeddings("flattened_weights", dimension=0, reason=TOO_MANY, **about(models))
        write_embeddings(embeddings, none)
        return
    files, base_files = by_folder(weights), by_folder(bases)
    of = {m["name"]: base_files[m["base"]] for m in models if m["base"] in base_files}
    found = similarity(files, [m["name"] for m in models], of)
    if isinstance(found, str):
        result = Embeddings("flattened_weights", dimension=0, reason=found, **about(models))
    else:
        gram, dimension = found
        cosine = cosine_of_gram(gram, [m["name"] for m in models])
        result = Embeddings(
            "flattened_weights", dimension=dimension, similarity=cosine, **about(models)
        )
    write_embeddings(embeddings, result)


def similarity(
    files: dict[str, list[Path]], names: Sequence[str], bases: dict[str, list[Path]] | None = None
) -> tuple[np.ndarray[Any, Any], int] | str:
    """Inner products (n, n) float64 and the common dimension, or why there is none.

    :param bases: model -> files of its base, which its weights are taken as differences from.
    """
    stores: dict[str, Weights] = {}
    layouts: dict[str, dict[str, tuple[int, ...]]] = {}
    origins = {
        name: Weights([f for f in found if "safetensors" in f.name])
        for name, found in (bases or {}).items()
    }
    for name in names:
        present = [f for f in files[name] if f.name == "adapter_model.safetensors"]
        if not present and name not in origins:
            return f"{name} is a full model, and others are adapters"
        stores[name] = store = Weights(
            present or [f for f in files[name] if "safetensors" in f.name]
        )
        layouts[name] = {key: store.shape(key) for key in store}
        if layouts[name] != layouts[names[0]]:
            kind = "adapters" if present else "weights"
            return f"{name} and {names[0]} have {kind} of different shapes"
        origin = origins.get(name)
        if origin is not None and layouts[name] != {key: origin.shape(key) for key in origin}:
            return f"{name} and its base have weights of different shapes"
    keys = list(stores[names[0]])
    gram = np.zeros((len(names), len(names)))
    dimension = 0
    progress = Progress(len(keys), "tensor")
    for key in keys:
        size = int(np.prod(stores[names[0]].shape(key)))
        dimension += size
        rows = [_row(stores[name], origins.get(name), key) for name in names]
        step = max(1, BLOCK // len(names))
        for start in range(0, size, step):
            block = np.stack([row[start : start + step] for row in rows]).astype(np.float64)
            gram += block @ block.T
        progress.step()
    return gram, dimension


def _row(store: Weights, origin: Weights | None, key: str) -> np.ndarray[Any, Any]:
    """A tensor as one float32 row, without what it had from the base."""
    tensor = store[key].float()
    if origin is not None:
        tensor = tensor - origin[key].float()
    return tensor.reshape(-1).numpy()
