"""Whether models trained with rewards differ from models fine-tuned on solutions: over models.

What a layer or a task says is of the same network; only models are drawn anew, so one value of each
counts, and an interval needs two models of each side. Welch's t, for sides that vary unequally:
B. L. Welch, Biometrika 34 (1947).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ModelDifference:
    """A difference of two means over models, RL minus SFT.

    :param low, high: 95 % interval. :param p: two-sided p-value of no difference. None for the three
        where a side has fewer than two models, or neither side varies.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


def between_models(sft: Array, rl: Array) -> ModelDifference:
    """RL minus SFT of one finite value per model, with Welch's t interval and p-value.

    :param sft: (n_sft,), n_sft >= 1. :param rl: (n_rl,), n_rl >= 1.
    """
    difference = float(rl.mean() - sft.mean())
    if min(len(sft), len(rl)) < 2 or np.ptp(sft) == np.ptp(rl) == 0:
        return ModelDifference(difference)
    found = stats.ttest_ind(rl, sft, equal_var=False)
    low, high = found.confidence_interval(0.95)
    return ModelDifference(difference, float(low), float(high), float(found.pvalue))
