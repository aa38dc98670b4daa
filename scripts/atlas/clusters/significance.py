"""How sure a silhouette is: fifteen points are few.

Silhouette: P. J. Rousseeuw, J. Comput. Appl. Math. 20 (1987), 53-65. Permutation p-value with the
observed labelling counted: B. Phipson and G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.clusters.silhouette_sums import cosine_silhouettes, values_of_sums

Array = np.ndarray[Any, Any]
SEED = 42
PERMUTATIONS, FEWEST, RESAMPLES = 1000, 99, 2000
# Beyond so many distances in all, fewer permutations are drawn (and the p-value is coarser).
WORK = 4e9


@dataclass(frozen=True)
class Significance:
    """Of a silhouette: its p-value under shuffled labels, and a 95 % interval over models."""

    p_value: float
    low: float
    high: float


def silhouette_values(distances: Array, codes: Array, labels: int) -> Array:
    """Silhouette of each point (n,), 0 where a point is alone with its label.

    :param distances: (n, n) float64 with a zero diagonal.
    :param codes: label of each point, 0 to ``labels`` - 1.
    """
    members = np.eye(labels)[codes]
    return values_of_sums(distances @ members, codes, members.sum(axis=0))


def significance(distances: Array, labels: Sequence[str]) -> Significance:
    """How sure the silhouette by some labels is.

    The p-value is the share of random relabellings, the observed one among them, whose silhouette
    is at least as large. The interval is the percentile bootstrap over models of the mean of
    their silhouettes, the distances staying as they are.

    :param distances: (n, n) float64 with a zero diagonal; at least two labels, one of them twice.
    """
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    generator = np.random.default_rng(SEED)
    observed = silhouette_values(distances, codes, len(names))
    count = int(np.clip(WORK / (distances.size * len(names)), FEWEST, PERMUTATIONS))
    shuffled = (generator.permutation(codes) for _ in range(count))
    others = [silhouette_values(distances, some, len(names)).mean() for some in shuffled]
    return _sure(observed, others, generator)


def _sure(observed: Array, others: Sequence[float], generator: np.random.Generator) -> Significance:
    """From the silhouettes of the points and the mean ones of other labellings."""
    level = observed.mean() - 1e-12  # the same labelling in another order is as large
    p_value = (1 + sum(other >= level for other in others)) / (1 + len(others))
    return Significance(float(p_value), *interval(observed, generator))


def interval(values: Array, generator: np.random.Generator) -> tuple[float, float]:
    """95 % interval of a mean over models: their percentile bootstrap."""
    n = len(values)
    means = [values[generator.integers(n, size=n)].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def significance_of_large(
    vectors: Array, names: Sequence[str], labels: Sequence[str]
) -> tuple[float, Significance]:
    """Silhouette of a large pool by cosine distances, and how sure it is; no pairs are held.

    As :func:`significance`, with the fewest permutations that it makes; vectors (n, d) float32.
    """
    kinds, codes = np.unique(np.asarray(labels), return_inverse=True)
    generator = np.random.default_rng(SEED)
    shuffled = [generator.permutation(codes) for _ in range(FEWEST)]
    observed, *others = cosine_silhouettes(vectors, names, [codes, *shuffled], len(kinds))
    sure = _sure(observed, [values.mean() for values in others], generator)
    return float(observed.mean()), sure
