"""Whether RL and SFT leave different geometry: one measure, paired by layer and task.

Differences are RL minus SFT of the same layer and task. Permutation p-value with the observed
signs counted: B. Phipson and G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010). Correction over
layers: S. Holm, Scand. J. Statist. 6 (1979).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from atlas.errors import AtlasError

Array = np.ndarray[Any, Any]
Side = Mapping[tuple[int, str], float]  # (layer, task) -> value of the measure
SEED = 42
PERMUTATIONS, RESAMPLES = 10_000, 10_000
COLUMNS = (
    "measure", "layer", "pairs", "sft_mean", "rl_mean", "difference", "low", "high", "p_permutation",
    "p_permutation_corrected", "welch_t", "welch_df", "p_welch", "p_welch_corrected", "cohens_d",
    "layers", "correction", "decision",
)  # fmt: skip


def sign_flip_p_value(differences: Array, seed: int = SEED) -> float:
    """Two-sided p-value of a mean difference (n,) under flips of the sign of each pair, n >= 1.

    All sign patterns where there are at most PERMUTATIONS of them, else so many random ones.
    """
    count = len(differences)
    # The same sum in another order is as large, whatever the rounding.
    level = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    if 2**count <= PERMUTATIONS:
        numbers = np.arange(2**count)[:, None]
        signs = 1.0 - 2.0 * ((numbers >> np.arange(count)) & 1)
        return float((np.abs(signs @ differences) >= level).mean())
    draw = np.random.default_rng(seed)
    larger = 0
    for start in range(0, PERMUTATIONS, 1000):  # a block of signs in memory at a time
        rows = min(1000, PERMUTATIONS - start)
        signs = 1.0 - 2.0 * draw.integers(2, size=(rows, count))
        larger += int((np.abs(signs @ differences) >= level).sum())
    return (1 + larger) / (1 + PERMUTATIONS)


def bootstrap_interval(differences: Array, seed: int = SEED) -> tuple[float, float]:
    """95 % percentile interval of the mean difference over resampled pairs."""
    draw = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 1000):
        rows = min(1000, RESAMPLES - start)
        drawn = draw.integers(len(differences), size=(rows, len(differences)))
        means[start : start + rows] = differences[drawn].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def cohens_d(one: Array, other: Array) -> float | None:
    """Difference of the means over the root of the mean of the two sample variances.

    As published, for groups of equal size. None where there are fewer than two values each, or
    neither group varies.
    """
    if min(len(one), len(other)) < 2:
        return None
    spread = math.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    return float((one.mean() - other.mean()) / spread) if spread > 0 else None


def welch(one: Array, other: Array) -> tuple[float | None, float | None, float | None]:
    """Welch's t, its degrees of freedom and two-sided p-value.

    None for all where there are fewer than two values each, or neither group varies.
    """
    if min(len(one), len(other)) < 2 or one.var() + other.var() == 0:
        return None, None, None
    found = stats.ttest_ind(one, other, equal_var=False)
    return float(found.statistic), float(found.df), float(found.pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction over the p-values that are there."""
    there = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(there):
        largest = max(largest, min(1.0, p * (len(there) - rank)))
        found[i] = largest
    return found


def decision(difference: float, d: float | None, p_corrected: float) -> str:
    """The published table, with RL minus SFT of a measure of which RL is to keep more.

    strong: RL is higher, corrected p < .01 and d > .5. moderate: RL is higher, corrected p < .05
    and d > .3. unexpected: SFT is higher, corrected p < .05. weak: all else. The published table
    calls any higher SFT unexpected; that it has to be significant is our reading, since without
    it noise would be unexpected half of the time.
    """
    effect = math.inf if d is None and difference > 0 else (d or 0.0)
    if difference > 0 and p_corrected < 0.01 and effect > 0.5:
        return "strong"
    if difference > 0 and p_corrected < 0.05 and effect > 0.3:
        return "moderate"
    return "unexpected" if difference < 0 and p_corrected < 0.05 else "weak"


def compare(measure: str, sft: Side, rl: Side, *, decide: bool = True) -> list[dict[str, Any]]:
    """One row per layer, over its tasks, and a last row with ``layer`` = all, over all pairs.

    ``low`` and ``high`` are the bootstrap interval of the difference. ``correction`` says how the
    corrected p-values came about: ``holm`` over the layers in the rows of layers; ``bonferroni``
    by the number of layers in the last row, because the layers of one network depend on each
    other, so that its pairs are worth no more than those of its best layer. ``decision`` stands in
    the last row and is by the corrected permutation p-value.

    :param sft, rl: the same keys in both.
    :param decide: whether more of the measure means that more of the base is kept; there is a
        decision about such measures only.
    :raises AtlasError: where a pair lacks one side, or a value is NaN or Inf.
    """
    pairs = _pairs(measure, sft, rl)
    layers = sorted({layer for layer, _ in pairs})
    rows = []
    for layer in layers:
        keys = [key for key in pairs if key[0] == layer]
        rows.append(_row(measure, layer, keys, sft, rl, len(layers)) | {"correction": "holm"})
    for key in ("p_permutation", "p_welch"):
        for row, p in zip(rows, holm([row[key] for row in rows]), strict=True):
            row[f"{key}_corrected"] = p
    return [*rows, overall(measure, sft, rl, decide=decide)]


def overall(measure: str, sft: Side, rl: Side, *, decide: bool = True) -> dict[str, Any]:
    """The last row of :func:`compare`: over all pairs."""
    pairs = _pairs(measure, sft, rl)
    layers = len({layer for layer, _ in pairs})
    total = _row(measure, "all", pairs, sft, rl, layers)
    for key in ("p_permutation", "p_welch"):
        p = total[key]
        total[f"{key}_corrected"] = None if p is None else min(1.0, p * layers)
    total["correction"] = "bonferroni"
    if decide:
        shift, d = total["difference"], total["cohens_d"]
        total["decision"] = decision(shift, d, total["p_permutation_corrected"])
    return total


def _pairs(measure: str, sft: Side, rl: Side) -> list[tuple[int, str]]:
    pairs = sorted(set(sft) | set(rl))
    if not pairs:
        raise AtlasError(f"{measure}: there are no pairs of layer and task to compare.")
    for layer, task in pairs:
        for name, side in (("SFT", sft), ("RL", rl)):
            value = side.get((layer, task))
            if value is None or not math.isfinite(value):
                what = "no value" if value is None else f"the value {value}"
                raise AtlasError(f"{measure}: {name} has {what} in layer {layer} of {task}.")
    return pairs


def _row(
    measure: str, layer: int | str, pairs: Sequence[tuple[int, str]], sft: Side, rl: Side,
    layers: int
) -> dict[str, Any]:  # fmt: skip
    one, other = (np.array([side[pair] for pair in pairs], dtype=np.float64) for side in (rl, sft))
    differences = one - other
    low, high = bootstrap_interval(differences)
    t, df, p = welch(one, other)
    return dict.fromkeys(COLUMNS) | {
        "measure": measure, "layer": layer, "pairs": len(differences),
        "sft_mean": float(other.mean()), "rl_mean": float(one.mean()),
        "difference": float(differences.mean()), "low": low, "high": high,
        "p_permutation": sign_flip_p_value(differences), "welch_t": t, "welch_df": df,
        "p_welch": p, "cohens_d": cohens_d(one, other), "layers": layers,
    }  # fmt: skip
