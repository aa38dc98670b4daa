"""Silhouettes from sums of distances to each label (P. J. Rousseeuw, J. Comput. Appl. Math. 20, 1987).

For cosine distances these sums need no pairs: the distances of a vector u of length 1 to the m vectors of
a label, whose sum is s, add up to m - u s.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from atlas.spaces.embeddings import unit_blocks

Array = np.ndarray[Any, Any]
SUMS = 2000  # sums of vectors that are held at a time: labels times labellings


def values_of_sums(sums: Array, codes: Array, sizes: Array) -> Array:
    """Silhouette of each point (n,), 0 where a point is alone with its label.

    :param sums: (n, labels) float64, of the distances of each point to all points of a label.
    :param codes: label of each point. :param sizes: (labels,) points of each label.
    """
    points = np.arange(len(codes))
    own = sums[points, codes] / np.maximum(sizes[codes] - 1, 1)
    means = sums / np.maximum(sizes, 1)
    means[points, codes] = np.inf
    means[:, sizes == 0] = np.inf
    other = means.min(axis=1)
    scale = np.maximum(own, other)
    values = np.divide(other - own, scale, out=np.zeros(len(codes)), where=scale > 0)
    return np.where(sizes[codes] > 1, values, 0.0)


def cosine_silhouettes(
    vectors: Array, names: Sequence[str], labellings: Sequence[Array], labels: int
) -> list[Array]:
    """Silhouettes (n,) by cosine distance, for each of several labellings of the same points.

    :param vectors: (n, d) float32. :param names: of the rows, for messages.
    :param labellings: label of each point, 0 to ``labels`` - 1.
    :raises AtlasError: where a vector is zero.
    """
    at_once = max(1, SUMS // labels)
    found: list[Array] = []
    for start in range(0, len(labellings), at_once):
        some = np.stack(labellings[start : start + at_once])
        totals = np.zeros((len(some) * labels, vectors.shape[1]))
        for place, unit in unit_blocks(vectors, names):
            # Which points have which label, for each labelling, as 0 and 1.
            members = np.concatenate([np.eye(labels)[codes].T for codes in some[:, place]])
            totals += members @ unit
        sizes = [np.bincount(codes, minlength=labels).astype(np.float64) for codes in some]
        values = np.empty(some.shape)
        for place, unit in unit_blocks(vectors, names):
            products = unit @ totals.T
            for k, codes in enumerate(some):
                sums = sizes[k] - products[:, k * labels : (k + 1) * labels]
                values[k, place] = values_of_sums(sums, codes[place], sizes[k])
        found += list(values)
    return found
