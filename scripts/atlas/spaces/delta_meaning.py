"""Delta meaning: how a model shifts the probabilities of continuations (arXiv 2509.04442).

The details are our reading, since no source states them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atlas.activations.feature_files import FeatureShards
from atlas.spaces.space import Found, space, stacked


@space
def embed(*, features: list[Path], models: list[dict[str, Any]]) -> Found:
    """The shift of the log inverse perplexity of each continuation, (n, n_continuations) float32.

    In nats per token. The dimension is the same for all models, whatever their base, width and
    tokenizer.

    :raises AtlasError: where a model is missing, or two shards disagree on a base.
    """
    with FeatureShards(features) as shards:
        shifts = (shards.delta(model, "meaning") for model in models)
        return stacked(shifts, len(models), "scores")
