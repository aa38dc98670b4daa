"""Plain adapters that compute side by side: each for its own rows of one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from atlas.weights.adapted_module import Turn
from atlas.weights.adapters import Adapter


@dataclass(frozen=True)
class SideBySide:
    """N plain adapters of any kinds, ranks, scales and targets; the first for the first nth of the rows."""

    adapters: Sequence[Adapter]
    turn: Turn = field(default_factory=Turn)


def has_rows_of_its_own(model: Any) -> TypeGuard[Adapter]:
    """Whether a model can be one of several side by side."""
    if not isinstance(model, Adapter) or "attach_all" not in vars(model.family):
        return False
    # What is routed to an expert is no longer in the order of its rows.
    return not any("experts" in name for name in model.modules)


def bytes_together(adapters: Sequence[Adapter]) -> int:
    """Bytes of the tensors of adapters side by side.

    All are as large as the largest of them, and each is there once more, for when it is its turn only.
    """
    largest: dict[tuple[str, str], int] = defaultdict(int)
    own = 0
    for adapter in adapters:
        for name, module in adapter.modules.items():
            key = (name, module.NAME)
            largest[key] = max(largest[key], module.nbytes)
            own += module.nbytes
    return len(adapters) * sum(largest.values()) + own
