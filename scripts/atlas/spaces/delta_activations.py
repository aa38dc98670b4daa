"""Delta activations: how a model shifts the activations of its base (arXiv 2509.04442)."""

from pathlib import Path
from typing import Any

from atlas.activations.activation_files import deltas
from atlas.spaces.space import Found, space, stacked


@space
def embed(*, activations: Path, models: list[dict[str, Any]]) -> Found:
    """The mean over probes of model minus base, (n, d) float32."""
    shifts = (delta.mean(axis=0) for delta in deltas(activations, models))
    return stacked(shifts, len(models), "activations")
