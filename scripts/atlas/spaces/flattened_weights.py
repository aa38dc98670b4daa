"""Flattened weights: all tensors of an adapter as one long vector, compared by cosine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.files import by_folder
from atlas.networks.named_weights import NamedWeights
from atlas.progress import Progress
from atlas.spaces.embeddings import cosine_of_gram
from atlas.spaces.large_pools import ALL_PAIRS, TOO_MANY
from atlas.spaces.space import Found, Nothing, Similarity, space
from atlas.weights.tensors import Weights

BLOCK = 1 << 24  # elements held at a time, of all models together


@space
def embed(*, bases: list[Path], weights: list[Path], models: list[dict[str, Any]]) -> Found:
    """Exact similarities, accumulated block by block in float64.

    Of an adapter all tensors count, as published; of full models, which share most of their base,
    the differences from it. Models that differ in the names or shapes of their tensors have no
    common dimension.

    :param bases: files of the bases, where all models are full ones.
    """
    if len(models) > ALL_PAIRS:
        return Nothing(TOO_MANY)
    base_files, names = by_folder(bases), [m["name"] for m in models]
    of = {m["name"]: base_files[m["base"]] for m in models if m["base"] in base_files}
    found = inner_products(by_folder(weights), names, of)
    if isinstance(found, Nothing):
        return found
    gram, dimension = found
    return Similarity(cosine_of_gram(gram, names), dimension)


def inner_products(
    files: dict[str, list[Path]], names: Sequence[str], bases: dict[str, list[Path]] | None = None
) -> tuple[np.ndarray[Any, Any], int] | Nothing:
    """Inner products (n, n) float64 and the common dimension, or why there is none.

    :param bases: model -> files of its base, which its weights are taken as differences from.
    """
    stores: dict[str, Weights | NamedWeights] = {}
    layouts: dict[str, dict[str, tuple[int, ...]]] = {}
    folders = {found[0].parent: found for found in (bases or {}).values()}
    opened = {folder: NamedWeights(found) for folder, found in folders.items()}
    origins = {name: opened[found[0].parent] for name, found in (bases or {}).items()}
    for name in names:
        present = [f for f in files[name] if f.name == "adapter_model.safetensors"]
        if not present and name not in origins:
            return Nothing(f"{name} is a full model, and others are adapters")
        stores[name] = store = Weights(present) if present else NamedWeights(files[name])
        layouts[name] = {key: store.shape(key) for key in store}
        if layouts[name] != layouts[names[0]]:
            kind = "adapters" if present else "weights"
            return Nothing(f"{name} and {names[0]} have {kind} of different shapes")
        origin = origins.get(name)
        if origin is not None and layouts[name] != {key: origin.shape(key) for key in origin}:
            return Nothing(f"{name} and its base have weights of different shapes")
    keys = list(stores[names[0]])
    gram = np.zeros((len(names), len(names)))
    dimension = 0
    progress = Progress(len(keys), "tensor")
    step = max(1, BLOCK // len(names))
    for key in keys:
        rows = [_row(stores[name], origins.get(name), key) for name in names]
        dimension += rows[0].size
        for start in range(0, rows[0].size, step):
            block = np.stack([row[start : start + step] for row in rows]).astype(np.float64)
            gram += block @ block.T
        progress.step()
    return gram, dimension


def _row(
    store: Mapping[str, torch.Tensor], origin: Mapping[str, torch.Tensor] | None, key: str
) -> np.ndarray[Any, Any]:
    """A tensor as one float32 row, without what it had from the base."""
    tensor = store[key].float()
    if origin is not None:
        tensor = tensor - origin[key].float()
    return tensor.reshape(-1).numpy()
