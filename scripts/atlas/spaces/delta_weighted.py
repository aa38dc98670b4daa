"""Delta weighted: how a model shifts the position-weighted mean activation of its base.

The details are our reading, since no source (arXiv 2509.04442) states them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atlas.activations.feature_files import FeatureShards
from atlas.spaces.space import Found, space, stacked


@space
def embed(*, features: list[Path], models: list[dict[str, Any]]) -> Found:
    """The mean over probes of the shift of the position-weighted mean activation, (n, d) float32.

    :raises AtlasError: where a model is missing, or two shards disagree on a base.
    """
    with FeatureShards(features) as shards:
        shifts = (shards.delta(model, "weighted").mean(axis=0) for model in models)
        return stacked(shifts, len(models), "activations")
