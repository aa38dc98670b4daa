"""All eigenvalues and the leading eigenvectors of symmetric matrices."""

from typing import Any

import numpy as np
from scipy.linalg import blas, lapack

Array = np.ndarray[Any, Any]
Pairs = tuple[Array, Array]
BLOCK = 64  # LAPACK's block size


def leading_eigenpairs(matrix: Array, count: int) -> Pairs:
    """All eigenvalues, largest first, and the eigenvectors of the `count` largest in columns.

    The matrix is reduced to tridiagonal form once; its eigenvectors follow by inverse iteration
    (LAPACK's dsytrd, dsterf and dstein), which for a fifth of them takes two thirds of the time of
    a full decomposition. Where the tridiagonal matrix falls apart (equal eigenvalues), or inverse
    iteration does not converge, the matrix is decomposed in full.

    :param matrix: (n, n) float64, symmetric and finite, n >= 1.
    :param count: 0 to n.
    :returns: (n,) and (n, count) float64.
    """
    if 0 < count <= len(matrix) // 2:
        form = _Tridiagonal(matrix)
        found = form.pairs(0, count)
        vectors = form.rotated(found[1]) if found else None
        if found and vectors is not None:
            return found[0], vectors
    return _in_full(matrix, count)


def nested_eigenpairs(gram: Array, count: int) -> tuple[Pairs, Pairs]:
    """The same of a Gram matrix, and of that of the same rows with their mean taken off.

    A reflection turns (1, ..., 1) into the first axis. In these coordinates the Gram matrix of the
    centred rows is the given one without its first row and column; and since the reduction to
    tridiagonal form leaves the first axis where it is, the same is true of the tridiagonal
    matrices: one reduction serves both.

    Rounding errors of both are relative to the largest eigenvalue of the given matrix.

    :param gram: (n, n) float64, symmetric and finite, n >= 2. :param count: 1 to n.
    :returns: (n,) and (n, count) of the matrix; (n - 1,) and (n, min(count, n - 1)) of the centred.
    """
    size = len(gram)
    less = min(count, size - 1)
    mirror = np.full(size, size**-0.5)
    mirror[0] += 1.0
    mirror /= np.linalg.norm(mirror)
    turned = 2.0 * (gram @ mirror)
    turned -= (mirror @ turned) * mirror
    reflected = blas.dsyr2(-1.0, mirror, turned, lower=1, a=gram.T)  # only the lower half is right
    pairs = None
    if count <= (size - 1) // 2:
        form = _Tridiagonal(reflected)
        whole, centred = form.pairs(0, count), form.pairs(1, less)
        if whole is not None and centred is not None:
            vectors = form.rotated(np.concatenate([whole[1], centred[1]], axis=1))
            if vectors is not None:
                pairs = ((whole[0], vectors[:, :count]), (centred[0], vectors[:, count:]))
    if pairs is None:
        values, vectors = _in_full(reflected[1:, 1:], less)
        vectors = np.concatenate([np.zeros((1, less)), vectors])
        pairs = (_in_full(reflected, count), (values, vectors))
    first, second = (
        (values, vectors - np.outer(2.0 * mirror, mirror @ vectors)) for values, vectors in pairs
    )
    return first, second


class _Tridiagonal:
    """The tridiagonal form of a symmetric matrix, of which the lower half is read.

    It is Q' A Q, and Q leaves the first axis where it is.
    """

    def __init__(self, matrix: Array) -> None:
        found = lapack.dsytrd(matrix, lower=1, lwork=BLOCK * len(matrix))
        self._reduced, self._diagonal, self._beside, self._tau, self._failed = found

    def pairs(self, start: int, count: int) -> Pairs | None:
        """Eigenpairs of the form without its first `start` rows and columns, vectors (n, count).

        :returns: None where it falls apart, or an iteration did not converge.
        """
        diagonal, beside = self._diagonal[start:], self._beside[start:]
        size = len(diagonal)
        if self._failed or (np.abs(beside) <= np.finfo(float).eps * np.abs(diagonal).max()).any():
            return None
        values, failed = lapack.dsterf(diagonal, beside)
        if failed:
            return None
        blocks, ends = np.ones(size, dtype=np.int32), np.full(size, size, dtype=np.int32)
        vectors, missed = lapack.dstein(diagonal, beside, values[-count:], blocks, ends)
        if missed:
            return None
        whole = np.zeros((start + size, count))
        whole[start:] = vectors[:, ::-1]
        return values[::-1], whole

    def rotated(self, vectors: Array) -> Array | None:
        """Eigenvectors of the matrix from those of the form; None where LAPACK fails."""
        found = np.array(vectors, order="F")
        turned, _, failed = lapack.dormqr(
            "L", "N", self._reduced[1:, :-1], self._tau, found[1:], lwork=BLOCK * len(found)
        )
        found[1:] = turned
        return None if failed else found


def _in_full(matrix: Array, count: int) -> Pairs:
    values, vectors = np.linalg.eigh(matrix, UPLO="L")
    return values[::-1], vectors[:, ::-1][:, :count]
