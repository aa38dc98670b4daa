"""Delta activations: how a model shifts the activations of its base (arXiv 2509.04442)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atlas.activations.activation_files import activations_of
from atlas.spaces.embeddings import Embeddings, about, write_embeddings


def embed(*, activations: Path, models: list[dict[str, Any]], embeddings: Path) -> None:
    """Embed a pool: the mean over probes of model minus base, (n, d) float32.

    :param models: name, base and domain of each model, in the order of the rows.
    """
    base_of = {model["name"]: model["base"] for model in models}
    bases = dict(activations_of(activations, "bases", sorted(set(base_of.values()))))
    widths = sorted({base.shape[1] for base in bases.values()})
    if len(widths) > 1:
        reason = f"the models have activations of {' and '.join(map(str, widths))} dimensions"
        result = Embeddings("delta_activations", dimension=0, reason=reason, **about(models))
    else:
        shifts = np.empty((len(models), widths[0]), dtype=np.float32)
        found = activations_of(activations, "models", list(base_of))
        for shift, (name, read) in zip(shifts, found, strict=True):
            shift[:] = delta(read, bases[base_of[name]])
        result = Embeddings(
            "delta_activations", dimension=widths[0], embeddings=shifts, **about(models)
        )
    write_embeddings(embeddings, result)


def delta(model: np.ndarray[Any, Any], base: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mean over probes of the difference, (d,) float64, from two (n_probes, d) arrays."""
    return np.asarray((model.astype(np.float64) - base.astype(np.float64)).mean(axis=0))
