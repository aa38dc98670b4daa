"""Exact nearest models of large pools: all pairs are looked at, block by block, and none is stored.

A matrix product in float32 says which pairs may be among the nearest: the error of an inner product of
n terms is at most n u / (1 - n u) times the sum of their magnitudes (N. J. Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 3.1), and that sum is at most 1 for vectors of length 1.
Those pairs alone are then compared in float64, so that neither block size nor threads change a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from atlas.embeddings import single_precision, unit_vectors
from atlas.progress import Progress

Array = np.ndarray[Any, Any]
ROWS = 512  # of the matrix of similarities that are held at a time
EXACT_ROWS = 2048  # vectors that are held in float64 at a time
UNIT_ROUNDOFF = 2.0**-24


def nearest(
    vectors: Array, names: Sequence[str], ranks: int
) -> Iterator[tuple[int, list[int], list[float]]]:
    """The nearest models of each: its index, theirs and the cosines, the nearest first.

    Equal cosines are ranked by name.

    :param vectors: (n, d) float32. :param ranks: how many, at most n - 1.
    :raises AtlasError: where a vector is zero.
    """
    n, width = vectors.shape
    ranks = min(ranks, n - 1)
    unit = single_precision(vectors, names)
    # Of an inner product, with what rounding the vectors to float32 adds.
    error = (width + 4) * UNIT_ROUNDOFF / (1 - (width + 4) * UNIT_ROUNDOFF)
    by_name = np.empty(n, dtype=np.int64)
    by_name[sorted(range(n), key=lambda i: names[i])] = np.arange(n)
    progress = Progress(n, "model")
    for start in range(0, n, ROWS):
        stop = min(start + ROWS, n)
        similar = unit[start:stop] @ unit.T
        similar[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        # What is within two errors of the least of the nearest may be nearer than it.
        least = np.partition(similar, n - ranks, axis=1)[:, n - ranks] - 2 * error
        for i, row, bound in zip(range(start, stop), similar, least, strict=True):
            near = np.flatnonzero(row >= bound)
            exact = _cosines(vectors, names, i, near)
            order = np.lexsort((by_name[near], -exact))[:ranks]
            yield i, near[order].tolist(), exact[order].tolist()
        progress.step(names[stop - 1], stop)


def _cosines(vectors: Array, names: Sequence[str], i: int, others: Array) -> Array:
    """Cosines (float64) of one vector with others; the same whatever else is computed."""
    one = unit_vectors(vectors[i : i + 1], [names[i]])[0]
    found = np.empty(len(others))
    for start in range(0, len(others), EXACT_ROWS):
        part = others[start : start + EXACT_ROWS]
        unit = unit_vectors(vectors[part], [names[j] for j in part])
        # Not by BLAS, whose order of summation depends on threads and shapes.
        found[start : start + EXACT_ROWS] = np.einsum("ij,j->i", unit, one)
    return found
