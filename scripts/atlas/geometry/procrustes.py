"""How far apart two representations of the same prompts are once one is turned onto the other.

P. H. Schönemann, Psychometrika 31 (1966); as a distance of representations: F. Ding et al., NeurIPS
2021 (arXiv 2108.01661), who square it.
"""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Representation:
    """Rows (n, d), any float type, without their mean and with it.

    Where there are fewer rows than dimensions, in coordinates of the space that rows and mean span:
    inner products stay, and are cheaper.
    """

    def __init__(self, activations: Array) -> None:
        self.mean = activations.mean(axis=0, dtype=np.float64)
        self._rows, self._off = activations, self.mean
        if len(activations) < len(self.mean):
            stacked = np.concatenate([activations - self.mean, self.mean[None]])
            triangle = np.asarray(np.linalg.qr(stacked.T, mode="r"))
            self._rows, self.mean = triangle[:, :-1].T, triangle[:, -1]
            self._off = np.zeros_like(self.mean)

    def products(self, other: "Representation") -> Array:
        """X' Y of the centred rows of both, float64; so many rows at a time as there are columns."""
        step = len(self.mean)
        total = np.zeros((step, len(other.mean)))
        for start in range(0, len(self._rows), step):
            one, two = (r._rows[start : start + step] - r._off for r in (self, other))
            total += one.T @ two
        return total

    def squares(self) -> float:
        """Squared Frobenius norm of the centred rows."""
        step = len(self.mean)
        blocks = (self._rows[i : i + step] - self._off for i in range(0, len(self._rows), step))
        return float(sum((block**2).sum() for block in blocks))

    def __len__(self) -> int:
        return len(self._rows)


def procrustes_distances(one: Representation, other: Representation) -> dict[str, float | None]:
    """The distance of uncentred and of centred rows; both of the same number.

    min over orthogonal Q of || X/||X|| - Y/||Y|| Q ||_F = sqrt(2 - 2 ||X' Y||_* / (||X|| ||Y||)): 0
    where one is the other, turned, mirrored or scaled; sqrt(2) where they have nothing in common.
    Rounding leaves 1e-7 of a distance of 0.

    :returns: None where all rows of one are zero.
    """
    count, products = len(one), one.products(other)
    centred = one.squares() * other.squares()
    means = count * np.outer(one.mean, other.mean)
    whole = math.prod(r.squares() + count * float(r.mean @ r.mean) for r in (one, other))
    return {
        "uncentred": _distance(products + means, whole),
        "centred": _distance(products, centred),
    }


def _distance(products: Array, squares: float) -> float | None:
    if squares == 0:
        return None
    nuclear = float(np.linalg.svd(products, compute_uv=False).sum())
    return math.sqrt(max(0.0, 2 - 2 * nuclear / math.sqrt(squares)))
