"""The Delta-X family: how a model shifts other features of its base (arXiv 2509.04442).

Each embedding is a feature of a model minus that of its own base, averaged over the probes where
there is one per probe. The details are our reading, since no source states them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atlas.activations.feature_files import FeatureShards
from atlas.spaces.embeddings import Embeddings, about, write_embeddings


def embed_delta_logits(
    *, features: list[Path], models: list[dict[str, Any]], embeddings: Path
) -> None:
    """Embed a pool: the mean over probes of the shift of the next-token logits.

    (n, vocabulary) float32. Models whose vocabularies differ in size have no common dimension:
    the reason is stored instead.

    :param features: the shards of the pool.
    :param models: name, base and domain of each model, in the order of the rows.
    :raises AtlasError: where a model is missing, or two shards disagree on a base.
    """
    _embed("delta_logits", "logits", "logits", features, models, embeddings)


def embed_delta_weighted(
    *, features: list[Path], models: list[dict[str, Any]], embeddings: Path
) -> None:
    """Embed a pool: the mean over probes of the shift of the position-weighted mean activation.

    (n, d) float32. Models of different widths have no common dimension: the reason is stored
    instead. Parameters and errors: as for :func:`embed_delta_logits`.
    """
    _embed("delta_weighted", "weighted", "activations", features, models, embeddings)


def embed_delta_meaning(
    *, features: list[Path], models: list[dict[str, Any]], embeddings: Path
) -> None:
    """Embed a pool: the shift of the log inverse perplexity of each continuation.

    (n, n_continuations) float32, in nats per token. The dimension is the same for all models,
    whatever their base, width and tokenizer. Parameters and errors: as for
    :func:`embed_delta_logits`.
    """
    _embed("delta_meaning", "meaning", "scores", features, models, embeddings)


def _embed(
    space: str, key: str, what: str, features: list[Path], models: list[dict[str, Any]], path: Path
) -> None:
    shifts = []
    with FeatureShards(features) as shards:
        for model in models:
            delta = shards.delta(model, key)
            shifts.append((delta.mean(axis=0) if delta.ndim > 1 else delta).astype(np.float32))
    widths = sorted({len(shift) for shift in shifts})
    if len(widths) > 1:
        reason = f"the models have {what} of {' and '.join(map(str, widths))} dimensions"
        result = Embeddings(space, dimension=0, reason=reason, **about(models))
    else:
        result = Embeddings(
            space, dimension=widths[0], embeddings=np.stack(shifts), **about(models)
        )
    write_embeddings(path, result)
