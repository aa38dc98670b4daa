"""LoraHub's gradient-free search of the weights of a composition (arXiv 2307.13269).

As in the published code: nevergrad's NGOpt, start 0, bounds +-1.5; the score is the loss plus
0.05 times the mean of |w|. Python's and NumPy's global generators are seeded, as published.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from atlas.errors import AtlasError


@dataclass(frozen=True)
class Step:
    """One evaluation: the weights, their loss, and the score that the search lowers."""

    weights: tuple[float, ...]
    loss: float
    score: float


def search(
    loss: Callable[[Sequence[float]], float], size: int, *, budget: int, bound: float,
    penalty: float, seed: int, on_step: Callable[[Step], None] = lambda step: None
) -> tuple[list[float], list[Step]]:  # fmt: skip
    """Weights that nevergrad recommends after `budget` evaluations, and all evaluations.

    :param loss: of a composition with these weights, `size` of them. :param bound: largest
        absolute weight. :param penalty: factor of the mean absolute weight.
    :raises AtlasError: where a loss is not finite.
    """
    import nevergrad

    steps: list[Step] = []

    def score(weights: np.ndarray) -> float:
        numbers = weights.tolist()
        value = loss(numbers)
        if not math.isfinite(value):
            raise AtlasError(f"the loss of step {len(steps) + 1} of the search is {value}.")
        found = value + penalty * (sum(map(abs, numbers)) / size)
        steps.append(Step(tuple(numbers), value, found))
        on_step(steps[-1])
        return found

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - nevergrad draws from the global generator
    weights = nevergrad.p.Array(init=[0] * size, upper=[bound] * size, lower=[-bound] * size)
    optimizer = nevergrad.optimizers.NGOpt(parametrization=weights, budget=budget)
    best = optimizer.minimize(score).value
    return [float(w) for w in best], steps
