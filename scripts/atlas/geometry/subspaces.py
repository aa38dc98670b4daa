"""How near two representations of the same prompts are: their subspaces and their Gram matrices."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def principal_cosines(one: Array, other: Array) -> Array:
    """Cosines of the principal angles of two subspaces, largest first.

    A. Björck and G. H. Golub, Math. Comp. 27 (1973).

    :param one: (d, k) with orthonormal columns, any float type. :param other: likewise, k' columns.
    :returns: (min(k, k'),) float64, from 0 to 1.
    """
    found = np.linalg.svd((one.T @ other).astype(np.float64), compute_uv=False)
    return np.asarray(np.clip(found, 0.0, 1.0))


def subspace_preservation(cosines: Array) -> float | None:
    """Mean cosine of the principal angles: 1 for the same subspace, 0 for orthogonal ones."""
    return float(cosines.mean()) if cosines.size else None


def projection_score(cosines: Array) -> float | None:
    """Share of one subspace that lies in the other: ||V1' V2||_F^2 / k, from 0 to 1.

    The published code divides by k once more, so that its score of identical subspaces is 1/k.
    """
    return float((cosines**2).mean()) if cosines.size else None


def kernel_alignment(one: Array, other: Array) -> float | None:
    """Alignment of two linear kernels, <K, L> / (||K|| ||L||), from 0 to 1.

    Of Gram matrices of centred rows it is linear CKA (S. Kornblith et al., ICML 2019, arXiv
    1905.00414); of others it is not, and a large mean brings it near 1 whatever else there is.

    :param one: Gram matrix (n, n) float64 of the rows. :param other: likewise.
    :returns: None where a Gram matrix is zero.
    """
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    # The product is that of the flattened matrices: no (n, n) product is formed.
    return float(np.vdot(one, other)) / norms if norms > 0 else None
