"""What a tensor of a language model is, by its name: embedding, norm, bias or matrix; its layer."""

import re
from collections.abc import Sequence
from typing import Literal

Kind = Literal["embedding", "norm", "bias", "matrix"]

_NORM = re.compile(r"(norm|(^|[._])ln(_?\w+)?)([._]|$)", re.IGNORECASE)
_EMBEDDING = re.compile(r"(^|[._])(embed\w*|\w+_embeddings?|wte|wpe|lm_head)([._]|$)")


def kind(name: str, shape: Sequence[int]) -> Kind:
    """The kind of a tensor; output embeddings (lm_head) are embeddings."""
    if _NORM.search(name.removesuffix(".weight").removesuffix(".bias")):
        return "norm"
    if len(shape) < 2:
        return "bias"
    return "embedding" if _EMBEDDING.search(name) else "matrix"


def layer(name: str) -> str:
    """Where a tensor belongs: ``layer 7``, or its own name outside of the layers."""
    found = re.search(r"\.(\d+)\.", name)
    return f"layer {int(found.group(1))}" if found else name
