"""Sketches of dW: random projections of modest size that keep inner products in the mean.

Each matrix is seen from both sides through a count sketch (M. Charikar, K. Chen and M. Farach-Colton,
2002): every row goes with a random sign into one of 64 buckets, and so does every column. The sketch of a
model is the sum of P dW Q over its matrices, (64, 64), each matrix with signs and buckets of its own, which
its name gives. The mean of <sketch, sketch'> over all choices of signs is <dW, dW'>. Of LoRA, P B and A Q are
multiplied, so that a sketch costs little more than to read the factors.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from atlas.weights.matrix_changes import Change, LowRank
from atlas.weights.row_blocks import rows_and_columns

SIDE = 64
DIMENSIONS = SIDE * SIDE
MATRICES = 4096  # whose buckets are kept


@lru_cache(MATRICES)
def _projection(name: str, size: int) -> csr_array:
    """P, (64, size) float32: a sign in each column. That of a longer side begins with the same."""

    def drawn(what: str, below: int) -> np.ndarray[Any, Any]:
        seed = hashlib.sha256(f"{name} {what}".encode()).digest()
        return np.random.default_rng(list(seed)).integers(below, size=size)

    signs = np.array([1.0, -1.0], dtype=np.float32)[drawn("signs", 2)]
    return csr_array((signs, (drawn("buckets", SIDE), np.arange(size))), shape=(SIDE, size))


def _seen(matrix: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """P M, (64, columns) float32, of a matrix (rows, columns)."""
    return np.asarray(_projection(name, len(matrix)) @ np.ascontiguousarray(matrix))


def sketched(changes: Iterable[tuple[str, Change]]) -> np.ndarray[Any, Any]:
    """The sketch of a model, (4096,) float32, from its changes by the names of their tensors."""
    found = np.zeros((SIDE, SIDE))
    for name, change in changes:
        if isinstance(change, LowRank):
            module = change.module
            left = _seen(module.b.numpy(), f"{name} rows")
            right = _seen(module.a.numpy().T, f"{name} columns")
            found += left @ right.T * module.scale
        else:
            matrix = change.values.reshape(rows_and_columns(change.shape)).numpy()
            found += _seen(_seen(matrix, f"{name} rows").T, f"{name} columns").T
    return found.reshape(-1).astype(np.float32)
