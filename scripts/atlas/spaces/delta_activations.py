"""Delta activations: how a model shifts the activations of its base (arXiv 2509.04442)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atlas.activations.activation_files import activations_of
from atlas.spaces.space import Found, space, stacked


@space
def embed(*, activations: Path, models: list[dict[str, Any]]) -> Found:
    """The mean over probes of model minus base, (n, d) float32."""
    base_of = {model["name"]: model["base"] for model in models}
    bases = dict(activations_of(activations, "bases", sorted(set(base_of.values()))))
    found = activations_of(activations, "models", list(base_of))
    shifts = (delta(read, bases[base_of[name]]) for name, read in found)
    return stacked(shifts, len(models), "activations")


def delta(model: np.ndarray[Any, Any], base: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mean over probes of the difference, (d,) float64, from two (n_probes, d) arrays."""
    return np.asarray((model.astype(np.float64) - base.astype(np.float64)).mean(axis=0))
