"""Exact nearest models of large pools: all pairs are looked at, block by block, and none is stored.

A matrix product in float32 says which pairs may be among the nearest: the error of an inner product of
n terms is at most n u / (1 - n u) times the sum of their magnitudes (N. J. Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 3.1), and that sum is at most 1 for vectors of length 1.
Those pairs alone are then compared in float64, so that neither block size nor threads change a result.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from atlas.progress import Progress
from atlas.spaces.embeddings import single_precision, unit_vectors

Array = np.ndarray[Any, Any]
ROWS = 512  # of the matrix of similarities that are held at a time
EXACT_ROWS = 2048  # vectors that are held in float64 at a time
UNIT_ROUNDOFF = 2.0**-24


def nearest(
    vectors: Array,
    names: Sequence[str],
    ranks: int,
    of: Sequence[int] | None = None,
    unit: Array | None = None,
) -> Iterator[tuple[int, list[int], list[float]]]:
    """The nearest models of each: its index, theirs and the cosines, the nearest first.

    Equal cosines are ranked by name.

    :param vectors: (n, d) float32. :param ranks: how many, at most n - 1.
    :param of: indices of the models whose nearest are found (default: all).
    :param unit: the vectors at length 1, float32, where the caller has them already.
    :raises AtlasError: where a vector is zero.
    """
    n, width = vectors.shape
    ranks = min(ranks, n - 1)
    unit = single_precision(vectors, names) if unit is None else unit
    # Of an inner product, with what rounding the vectors to float32 adds.
    error = (width + 4) * UNIT_ROUNDOFF / (1 - (width + 4) * UNIT_ROUNDOFF)
    by_name = name_order(names)
    rows = np.arange(n) if of is None else np.asarray(of)
    progress = Progress(len(rows), "model")
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        similar = unit[block] @ unit.T
        similar[np.arange(len(block)), block] = -np.inf
        # What is within two errors of the least of the nearest may be nearer than it.
        least = np.partition(similar, n - ranks, axis=1)[:, n - ranks] - 2 * error
        for i, row, bound in zip(block.tolist(), similar, least, strict=True):
            near = np.flatnonzero(row >= bound)
            exact = cosines(vectors, names, i, near)
            order = np.lexsort((by_name[near], -exact))[:ranks]
            yield i, near[order].tolist(), exact[order].tolist()
        progress.step(names[block[-1]], start + len(block))


def name_order(names: Sequence[str]) -> Array:
    """The place (n,) of each name among all of them, by which equal cosines are ranked."""
    found = np.empty(len(names), dtype=np.int64)
    found[sorted(range(len(names)), key=lambda i: names[i])] = np.arange(len(names))
    return found


def cosines(vectors: Array, names: Sequence[str], i: int, others: Array) -> Array:
    """Cosines (float64) of one vector with others; the same whatever else is computed."""
    one = unit_vectors(vectors[i : i + 1], [names[i]])[0]
    found = np.empty(len(others))
    for start in range(0, len(others), EXACT_ROWS):
        part = others[start : start + EXACT_ROWS]
        unit = unit_vectors(vectors[part], [names[j] for j in part])
        # Not by BLAS, whose order of summation depends on threads and shapes.
        found[start : start + EXACT_ROWS] = np.einsum("ij,j->i", unit, one)
    return found
