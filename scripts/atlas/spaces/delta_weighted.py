"""Delta weighted: how a model shifts the position-weighted mean activation of its base.

The details are our reading, since no source (arXiv 2509.04442) states them.
"""

from pathlib import Path
from typing import Any

from atlas.spaces.space import Found, shifts, space


@space
def embed(*, features: list[Path], models: list[dict[str, Any]]) -> Found:
    """The mean over probes of the shift of the position-weighted mean activation, (n, d) float32."""
    return shifts(features, models, "weighted", "activations")
