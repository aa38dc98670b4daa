"""The path that a prompt takes over the layers of a network: its curvature, and its signature.

A path is (layers, d), in float64: the residual stream after each block, at one position of a prompt.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def menger_curvature(paths: Array) -> Array:
    """Mean over layers of the curvature of the circle through three successive points of each path.

    1/r of the circle through a, b, c, = 2 sin(angle at b) / ||c - a||: 1/r on a circle of radius r,
    0 on a straight line. Unlike the angle alone it has a unit, one over the length of activations.
    Points of which two are the same lie on no circle, and are left out. K. Menger, Math. Ann. 103
    (1930).

    :param paths: (n, layers, d). :returns: (n,) float64; NaN where no three points have a circle.
    """
    steps = np.diff(paths.astype(np.float64), axis=1)
    sizes = np.linalg.norm(steps, axis=2)
    chords = np.linalg.norm(steps[:, 1:] + steps[:, :-1], axis=2)
    there = (sizes[:, 1:] > 0) & (sizes[:, :-1] > 0) & (chords > 0)
    units = steps / np.where(sizes > 0, sizes, 1.0)[..., None]
    # Exact for small angles too, where a cosine is not (W. Kahan).
    apart, along = (np.linalg.norm(units[:, 1:] + s * units[:, :-1], axis=2) for s in (-1, 1))
    turns = 2 * np.arctan2(apart, along)
    found = np.where(there, 2 * np.sin(turns) / np.where(there, chords, 1.0), 0.0)
    count = there.sum(axis=1)
    return np.asarray(np.where(count > 0, found.sum(axis=1) / np.maximum(count, 1), np.nan))


def signature(paths: Array) -> tuple[Array, Array, Array]:
    """Signatures of depth 3 of piecewise linear paths.

    Step by step by Chen's identity, the signature of a step D being D, D (x) D / 2, D (x) D (x) D / 6.
    I. Chevyrev and A. Kormilitzin, arXiv 1603.03788.

    :param paths: (n, layers, m). :returns: (n, m), (n, m, m) and (n, m, m, m) float64.
    """
    steps = np.diff(paths.astype(np.float64), axis=1)
    count, _, m = steps.shape
    first, second = np.zeros((count, m)), np.zeros((count, m, m))
    third = np.zeros((count, m, m, m))
    for d in np.moveaxis(steps, 1, 0):
        square = d[:, :, None] * d[:, None, :]
        # S2 (x) D + S1 (x) D (x) D / 2 + D (x) D (x) D / 6, and so on below.
        third += second[..., None] * d[:, None, None, :]
        third += (first / 2 + d / 6)[:, :, None, None] * square[:, None]
        second += (first + d / 2)[:, :, None] * d[:, None, :]
        first += d
    return first, second, third


def signature_distances(base: Array, model: Array) -> Array:
    """How far apart the signatures of two paths of each prompt are: Euclidean, over all three levels.

    Both paths are divided by the length of the base's, so that no level outweighs the others: level
    k of a path of length 1 has a norm of 1/k! at most.

    :param base, model: (n, layers, m), in the same coordinates. :returns: (n,) float64; NaN where the
        path of the base has no length.
    """
    length = np.linalg.norm(np.diff(base.astype(np.float64), axis=1), axis=2).sum(axis=1)
    scale = np.where(length > 0, length, np.nan)[:, None, None]
    found = np.empty(len(base))
    for i in range(0, len(base), 16):  # a path in 32 dimensions has 33,824 numbers
        part = slice(i, i + 16)
        pairs = zip(*(signature(p[part] / scale[part]) for p in (base, model)), strict=True)
        found[part] = np.sqrt(sum(((a - b) ** 2).reshape(len(a), -1).sum(axis=1) for a, b in pairs))
    return found
