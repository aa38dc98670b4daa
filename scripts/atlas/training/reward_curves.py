"""Whether a reward rises in training: its slope over the steps, by least squares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from atlas.errors import AtlasError
from atlas.files import read_csv

STEP, REWARD = "step", "reward"


@dataclass(frozen=True)
class Slope:
    """Change of the reward per step, with its 95 % interval (Student's t); ``steps`` points."""

    value: float
    low: float
    high: float
    steps: int


def reward_curve(training: Path) -> list[tuple[int, float]]:
    """Step and mean reward of each step that was logged; none where nothing was rewarded.

    :raises AtlasError: where a reward is no finite number, or a step stands twice.
    """
    rows = [row for row in read_csv(training) if row.get(REWARD)]
    found = [(int(row[STEP]), float(row[REWARD])) for row in rows]
    for step, reward in found:
        if not math.isfinite(reward):
            raise AtlasError(f"{training}: the reward of step {step} is {reward}.")
    if len({step for step, _ in found}) < len(found):
        raise AtlasError(f"{training}: a step stands there twice.")
    return found


def mean_curve(curves: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """The mean of several curves over the steps that all of them have."""
    shared = [dict(curve) for curve in curves]
    steps = sorted(set.intersection(*map(set, shared))) if shared else []
    return [(step, sum(curve[step] for curve in shared) / len(shared)) for step in steps]


def slope(curve: Sequence[tuple[int, float]]) -> Slope | None:
    """The slope of a curve; None where there are fewer than three steps, hence no interval.

    The interval takes the steps as independent of one another.
    """
    if len(curve) < 3:
        return None
    x, y = (column - column.mean() for column in np.array(curve, dtype=np.float64).T)
    value = float(x @ y / (x @ x))
    freedom = len(curve) - 2
    error = math.sqrt(float(((y - value * x) ** 2).sum()) / freedom / float(x @ x))
    reach = float(stats.t.ppf(0.975, freedom)) * error
    return Slope(value, value - reach, value + reach, len(curve))
