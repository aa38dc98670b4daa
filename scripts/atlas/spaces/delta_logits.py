"""Delta logits: how a model shifts the next-token logits of its base (arXiv 2509.04442).

The details are our reading, since no source states them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atlas.activations.feature_files import FeatureShards
from atlas.spaces.space import Found, space, stacked


@space
def embed(*, features: list[Path], models: list[dict[str, Any]]) -> Found:
    """The mean over probes of the shift of the next-token logits, (n, vocabulary) float32.

    :raises AtlasError: where a model is missing, or two shards disagree on a base.
    """
    with FeatureShards(features) as shards:
        shifts = (shards.delta(model, "logits").mean(axis=0) for model in models)
        return stacked(shifts, len(models), "logits")
