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
import torch

from atlas.weights.matrix_changes import Change, LowRank
from atlas.weights.row_blocks import rows_and_columns

SIDE = 64
DIMENSIONS = SIDE * SIDE
MATRICES = 4096  # whose buckets are kept


@lru_cache(MATRICES)
def _buckets(name: str, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Bucket and sign of each row, or column, of a matrix; a longer one begins with the same."""

    def drawn(what: str, below: int) -> torch.Tensor:
        seed = hashlib.sha256(f"{name} {what}".encode()).digest()
        random = np.random.default_rng(list(seed))
        return torch.from_numpy(random.integers(below, size=size))

    return drawn("buckets", SIDE), 1.0 - 2.0 * drawn("signs", 2).float()


def _rows(matrix: torch.Tensor, name: str) -> torch.Tensor:
    """P M, (64, columns), of a matrix (rows, columns)."""
    buckets, signs = _buckets(name, len(matrix))
    return torch.zeros(SIDE, matrix.shape[1]).index_add_(0, buckets, matrix * signs[:, None])


def sketched(changes: Iterable[tuple[str, Change]]) -> np.ndarray[Any, Any]:
    """The sketch of a model, (4096,) float32, from its changes by the names of their tensors."""
    found = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    for name, change in changes:
        if isinstance(change, LowRank):
            a, b = change.module.a, change.module.b
            left = _rows(b, f"{name} rows")
            right = _rows(a.mT, f"{name} columns")
            found += (left @ right.mT * change.module.scale).double()
        else:
            matrix = change.values.reshape(rows_and_columns(change.shape))
            left = _rows(matrix, f"{name} rows")
            found += _rows(left.mT, f"{name} columns").mT.double()
    return found.reshape(-1).float().numpy()
