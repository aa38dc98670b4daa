"""Delta logits: how a model shifts the next-token logits of its base (arXiv 2509.04442).

The details are our reading, since no source states them.
"""

from pathlib import Path
from typing import Any

from atlas.spaces.space import Found, shifts, space


@space
def embed(*, features: list[Path], models: list[dict[str, Any]]) -> Found:
    """The mean over probes of the shift of the next-token logits, (n, vocabulary) float32."""
    return shifts(features, models, "logits", "logits")
