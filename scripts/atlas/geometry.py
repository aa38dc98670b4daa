"""Geometry of activations, layer by layer: spectra, and subspaces against those of the base.

Every matrix is decomposed once, and all measures are read from that one decomposition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlas.eigenpairs import leading_eigenpairs
from atlas.errors import AtlasError
from atlas.spectra import measures, numerical_rank
from atlas.stream_files import StreamFile, hook_place
from atlas.subspaces import (
    linear_cka,
    principal_cosines,
    projection_score,
    subspace_preservation,
)

Array = np.ndarray[Any, Any]
SUBSPACE = 100  # dimensions of the subspaces that are compared, as published
CENTRINGS = ("uncentred", "centred")
COLUMNS = (
    "model", "layer", "hook", "centring", "prompts", "dimensions", "rank", "effective_rank",
    "spectral_decay", "spectral_decay_r2", "participation_ratio", "stable_rank", "dimension_90",
    "condition_number", "subspace_dimensions", "subspace_preservation", "projection_score", "cka",
)  # fmt: skip
# Eigenvalues of a Gram matrix have errors of about epsilon times the largest: where the smallest
# one is below this share of the largest, its root would be off by more than about 1e-6.
GRAM_LIMIT = 1e-9


@dataclass(frozen=True)
class Decomposition:
    """Of one matrix (n, d): what all measures need.

    ``singular_values``: descending, (min(n, d),) float64, or (min(n - 1, d),) where the matrix was
    centred, since a centred matrix has no more. ``rank``: how many are not zero.
    ``right``: the first k right singular vectors, (d, min(k, rank)) float64, orthonormal.
    ``gram``: Gram matrix of the rows, (n, n) float64.
    """

    singular_values: Array
    rank: int
    right: Array
    gram: Array


@dataclass(frozen=True)
class Geometry:
    """The decompositions of a matrix of activations as it is and with its column means taken off."""

    uncentred: Decomposition
    centred: Decomposition


def decompose(activations: Array, subspace: int = SUBSPACE) -> Geometry:
    """Both decompositions of a matrix of activations.

    :param activations: (n, d), n >= 2, any float type; computed in float64.
    :param subspace: number of right singular vectors that are kept.
    :raises AtlasError: where there are fewer than two rows, or a value is NaN or Inf.
    """
    if activations.ndim != 2 or activations.shape[0] < 2:
        raise AtlasError(
            f"activations of the shape {activations.shape} have no geometry; a matrix with two "
            "rows or more has."
        )
    rows = len(activations)
    centred = np.array(activations, dtype=np.float64)
    mean = centred.mean(axis=0)
    if not np.isfinite(mean).all():
        raise AtlasError("activations with NaN or Inf have no geometry.")
    centred -= mean
    gram = centred @ centred.T
    # The Gram matrix of the matrix itself follows from it by two products with vectors; the other
    # way round, small eigenvalues of the centred one would drown in those of the mean.
    across = centred @ mean
    whole = gram + (across + mean @ mean)[:, None] + across
    nothing = np.zeros_like(mean)
    return Geometry(
        _decomposition(centred, mean, whole, rows, subspace),
        _decomposition(centred, nothing, gram, rows - 1, subspace),
    )


def _decomposition(
    centred: Array, mean: Array, gram: Array, most: int, subspace: int
) -> Decomposition:
    """Of the matrix centred + mean, which is only formed where it has to be.

    :param gram: of its rows. :param most: the rank that the number of rows allows.
    """
    rows, columns = centred.shape
    count, wide = min(most, columns), rows <= columns
    square = gram if wide else centred.T @ centred + rows * np.outer(mean, mean)
    keep = min(subspace, count)
    squares, vectors = leading_eigenpairs(square, keep)
    squares = squares[:count]
    if squares[-1] > GRAM_LIMIT * squares[0]:
        values, rank, right = np.sqrt(squares), count, vectors
        if wide:
            right = (centred.T @ vectors + np.outer(mean, vectors.sum(axis=0))) / values[:keep]
    else:
        values, right = _directly(centred + mean)
        values = values[:count]
        rank = numerical_rank(values, centred.shape)
        right = right[:, : min(subspace, rank)]
    return Decomposition(values, rank, np.ascontiguousarray(right), gram)


def _directly(matrix: Array) -> tuple[Array, Array]:
    """Singular values and right singular vectors, without squaring the condition number.

    By the triangular factor of the shorter side, so that the decomposition is of min(n, d) squared.
    """
    if matrix.shape[0] <= matrix.shape[1]:
        basis, triangle = np.linalg.qr(matrix.T)
        left, values, _ = np.linalg.svd(triangle)
        return values, basis @ left
    _, values, right = np.linalg.svd(np.linalg.qr(matrix, mode="r"))
    return values, right.T


def comparison(base: Decomposition, model: Decomposition) -> dict[str, float | int | None]:
    """How much of the base a model keeps: subspaces of the same number of dimensions, and CKA.

    :raises AtlasError: where the two are of different numbers of prompts.
    """
    if len(base.gram) != len(model.gram):
        raise AtlasError(
            f"activations of {len(base.gram)} and {len(model.gram)} rows cannot be compared; both "
            "have to be of the same prompts."
        )
    kept = min(base.right.shape[1], model.right.shape[1])
    cosines = principal_cosines(base.right[:, :kept], model.right[:, :kept])
    return {
        "subspace_dimensions": kept, "subspace_preservation": subspace_preservation(cosines),
        "projection_score": projection_score(cosines), "cka": linear_cka(base.gram, model.gram),
    }  # fmt: skip


def measure_layers(
    base: Path, models: Mapping[str, Path], subspace: int = SUBSPACE
) -> Iterator[tuple[dict[str, Any], Array]]:
    """Measures of the base and of models, hook by hook, and their singular values.

    Each row (columns: COLUMNS) comes with the singular values, (r,) float64. ``centring`` is
    uncentred or centred; ``dimension_90``, ``rank`` and ``subspace_dimensions`` are numbers of
    dimensions. The base is named ``base`` and has no comparison. One layer of one model and of
    the base is in memory at a time.

    :param base: activations of the base. :param models: name -> activations of a model.
    :raises AtlasError: where the prompts, hooks or widths of two files differ.
    """
    with StreamFile(base) as own:
        others = {name: StreamFile(path) for name, path in models.items()}
        try:
            for other in others.values():
                own.check_same(other)
            for hook in own.hooks:
                reference = _at(own, hook, subspace)
                yield from _rows("base", hook, own, reference, None)
                for name, other in others.items():
                    yield from _rows(name, hook, other, _at(other, hook, subspace), reference)
        finally:
            for other in others.values():
                other.close()


def _at(file: StreamFile, hook: str, subspace: int) -> Geometry:
    try:
        return decompose(file.read(hook), subspace)
    except AtlasError as error:
        raise AtlasError(f"{file.path}: {hook}: {error}") from None


def _rows(
    name: str, hook: str, file: StreamFile, found: Geometry, base: Geometry | None
) -> Iterator[tuple[dict[str, Any], Array]]:
    layer, stream = hook_place(hook)
    for centring in CENTRINGS:
        one: Decomposition = getattr(found, centring)
        row = dict.fromkeys(COLUMNS)
        row |= {"model": name, "layer": layer, "hook": stream, "centring": centring}
        row |= {"prompts": file.rows, "dimensions": file.dimensions}
        row |= measures(one.singular_values, one.rank)
        if base is not None:
            row |= comparison(getattr(base, centring), one)
        yield row, one.singular_values
