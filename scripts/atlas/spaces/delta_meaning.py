"""Delta meaning: how a model shifts the probabilities of continuations (arXiv 2509.04442).

The details are our reading, since no source states them.
"""

from pathlib import Path
from typing import Any

from atlas.spaces.space import Found, shifts, space


@space
def embed(*, features: list[Path], models: list[dict[str, Any]]) -> Found:
    """The shift of the log inverse perplexity of each continuation, (n, n_continuations) float32.

    In nats per token. The dimension is the same for all models, whatever their base, width and
    tokenizer.
    """
    return shifts(features, models, "meaning", "scores")
