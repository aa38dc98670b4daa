"""Measures of a spectrum: what the singular values of a matrix of activations say.

The measures are those of the published analysis of RL and SFT, with their formulas. All take
singular values in descending order, (r,) float64.
"""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def effective_rank(values: Array) -> float:
    """Exponential of the entropy of the singular values normalised to sum 1; 1 to r.

    O. Roy and M. Vetterli, EUSIPCO 2007.
    """
    total = float(values.sum())
    if total == 0:
        return 0.0
    shares = values[values > 0] / total
    shares = shares[shares > 0]  # a share may be too small for a float
    return float(np.exp(-(shares * np.log(shares)).sum()))


def participation_ratio(values: Array) -> float:
    """(sum s)^2 / sum s^2; 1 to r, and 0 of a zero matrix."""
    scaled = _scaled(values)
    return float(scaled.sum() ** 2 / (scaled**2).sum()) if scaled.size else 0.0


def stable_rank(values: Array) -> float:
    """Squared Frobenius norm over squared spectral norm; 1 to r, and 0 of a zero matrix.

    M. Rudelson and R. Vershynin, J. ACM 54 (2007).
    """
    return float((_scaled(values) ** 2).sum())


def energy_dimension(values: Array, share: float = 0.9) -> int:
    """The smallest k whose k largest squared singular values hold this share of their sum."""
    energy = np.cumsum(_scaled(values) ** 2)
    if not energy.size:
        return 0
    # k equal values hold k/r of the energy, which rounding may put just below the share.
    return int(np.searchsorted(energy, share * energy[-1] * (1 - 1e-12))) + 1


def condition_number(values: Array, rank: int) -> float:
    """Largest over smallest singular value; infinite where the rank is not full."""
    return float(values[0] / values[-1]) if 0 < rank == len(values) else math.inf


def spectral_decay(values: Array, rank: int) -> tuple[float | None, float | None]:
    """Exponent a of the power law s_i ~ i^-a, and R2 of its fit: least squares of log s on log i.

    Over the first `rank` singular values: the logarithm of rounding errors says nothing.

    :returns: None for both where the rank is below 2, and for R2 where the spectrum is flat.
    """
    if rank < 2:
        return None, None
    x, y = np.log(np.arange(1.0, rank + 1)), np.log(values[:rank])
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    total, left = float(y @ y), float(((y - slope * x) ** 2).sum())
    flat = total <= rank * (8 * np.finfo(float).eps * max(1.0, abs(math.log(values[0])))) ** 2
    return -slope + 0.0, None if flat else 1 - left / total


def numerical_rank(values: Array, shape: tuple[int, int]) -> int:
    """Singular values above max(shape) times float64's epsilon times the largest, as numpy counts."""
    if not values.size:
        return 0
    return int((values > values[0] * max(shape) * np.finfo(np.float64).eps).sum())


def measures(values: Array, rank: int) -> dict[str, float | int | None]:
    """All of the above, under the names of the columns."""
    decay, r2 = spectral_decay(values, rank)
    return {
        "rank": rank, "effective_rank": effective_rank(values), "spectral_decay": decay,
        "spectral_decay_r2": r2, "participation_ratio": participation_ratio(values),
        "stable_rank": stable_rank(values), "dimension_90": energy_dimension(values),
        "condition_number": condition_number(values, rank),
    }  # fmt: skip


def _scaled(values: Array) -> Array:
    """Divided by the largest, so that no square is too large or too small; empty for all zero."""
    return values / values[0] if values.size and values[0] > 0 else values[:0]
