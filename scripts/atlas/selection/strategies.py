"""Which models of a pool are composed for a task."""

import random
from collections.abc import Sequence
from typing import Literal

from atlas.errors import AtlasError

LORAHUB = "lorahub"  # the method, beside PEFT's merges
Strategy = Literal["random", "similar", "similar+random"]


def choose(strategy: Strategy, ranked: Sequence[str], size: int, seed: int) -> list[str]:
    """Names of the models to compose, in the order in which they are searched.

    ``random``: drawn at random; ``similar``: the most similar ones; ``similar+random``: the most
    similar one, the others at random. The seed draws models and order: the search itself may be
    deterministic.

    :param ranked: names of the pool's models, the most similar to the task first.
    :raises AtlasError: where the pool has fewer models.
    """
    if size > len(ranked):
        raise AtlasError(f"{size} models cannot be chosen out of {len(ranked)}.")
    draw = random.Random(seed)
    if strategy == "random":
        return draw.sample(sorted(ranked), size)
    if strategy == "similar":
        return draw.sample(list(ranked[:size]), size)
    nearest, *others = ranked
    return draw.sample([nearest, *draw.sample(sorted(others), size - 1)], size)
