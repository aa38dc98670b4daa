"""Geometry of activations, layer by layer: spectra, and subspaces against those of the base.

Every matrix is decomposed once, and all measures are read from that one decomposition.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import AtlasError
from atlas.geometry.eigenpairs import leading_eigenpairs, nested_eigenpairs
from atlas.geometry.procrustes import Representation, procrustes_distances
from atlas.geometry.spectra import measures, numerical_rank
from atlas.geometry.stream_files import StreamFile, hook_place
from atlas.geometry.subspaces import (
    kernel_alignment,
    principal_cosines,
    projection_score,
    subspace_preservation,
)

Array = np.ndarray[Any, Any]
SUBSPACE = 50  # dimensions of the subspaces that are compared, as published
# Of each, the name of the alignment of the Gram matrices: only that of centred ones is CKA.
ALIGNMENT = {"uncentred": "uncentred_alignment", "centred": "cka"}
CENTRINGS = tuple(ALIGNMENT)
COLUMNS = (
    "model", "layer", "hook", "centring", "prompts", "dimensions", "rank", "effective_rank",
    "spectral_decay", "spectral_decay_r2", "participation_ratio", "stable_rank", "dimension_90",
    "condition_number", "subspace_dimensions", "subspace_preservation", "projection_score",
    *ALIGNMENT.values(), "procrustes_distance",
)  # fmt: skip
# Eigenvalues of a Gram matrix have errors of about epsilon times the largest: where the smallest
# one is below this share of the largest, its root would be off by more than about 1e-6.
GRAM_LIMIT = 1e-9
# Singular vectors of activations in half precision are computed in float32 down to this share of
# the largest centred singular value: their errors are then 1e-4 at most, those of cosines 1e-8.
HALF_LIMIT = 1e3


@dataclass(frozen=True)
class Decomposition:
    """Of one matrix (n, d): what all measures need.

    ``singular_values``: descending, (min(n, d),) float64, or (min(n - 1, d),) where the matrix was
    centred, since a centred matrix has no more. ``rank``: how many are not zero.
    ``right``: the first k right singular vectors, (d, min(k, rank)), orthonormal; float64, or
    float32 where the matrix was float16.
    ``gram``: Gram matrix of the rows, (n, n) float64, or None where there are more rows than
    columns: then ``matrix`` is the matrix as it was given, and ``mean`` what is taken off its rows.
    """

    singular_values: Array
    rank: int
    right: Array
    rows: int
    gram: Array | None = None
    matrix: Array | None = None
    mean: Array | None = None


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
    rows, columns = activations.shape
    return (_wide if rows <= columns else _tall)(activations, subspace)


def _wide(activations: Array, subspace: int) -> Geometry:
    """By the Gram matrix of the rows, one for both: no centred matrix is formed for it."""
    rows, matrix = len(activations), activations.astype(np.float64)
    gram = matrix @ matrix.T
    _refuse_broken(gram.trace())
    (whole, left), (squares, left_centred) = nested_eigenpairs(gram, min(subspace, rows))
    if min(whole[-1], squares[-1]) <= GRAM_LIMIT * whole[0]:
        return Geometry(*_apart(matrix, gram, whole, left, subspace))
    values, centred = np.sqrt(whole), np.sqrt(squares)
    left = left / values[: left.shape[1]]
    left_centred = left_centred / centred[: left_centred.shape[1]]
    both = np.concatenate([left, left_centred], axis=1)
    kept = min(values[left.shape[1] - 1], centred[left_centred.shape[1] - 1])
    if activations.dtype == np.float16 and centred[0] < HALF_LIMIT * kept:
        # Without a large mean, which rounding errors would be relative to.
        mean = matrix.mean(axis=0).astype(np.float32)
        single = activations.astype(np.float32)
        single -= mean
        right = single.T @ both.astype(np.float32)
        right[:, : left.shape[1]] += np.outer(mean, left.sum(axis=0))
    else:
        right = matrix.T @ both
    means = gram.mean(axis=0)
    gram_centred = gram - means - (means - means.mean())[:, None]
    return Geometry(
        Decomposition(values, rows, right[:, : left.shape[1]], rows, gram=gram),
        Decomposition(centred, rows - 1, right[:, left.shape[1] :], rows, gram=gram_centred),
    )


def _apart(
    matrix: Array, gram: Array, squares: Array, left: Array, subspace: int
) -> Iterator[Decomposition]:
    """The two, each for itself: where what is small would drown in rounding errors.

    :param gram, squares, left: of the matrix as it is.
    """
    rows = len(matrix)
    for count in (rows, rows - 1):
        if squares[-1] > GRAM_LIMIT * squares[0]:
            values = np.sqrt(squares)
            right = matrix.T @ (left / values[: left.shape[1]])
            yield Decomposition(values, count, right, rows, gram=gram)
        else:
            yield _from_matrix(matrix, count, subspace, gram)
        if count == rows:
            matrix = matrix - matrix.mean(axis=0)
            gram = matrix @ matrix.T
            squares, left = leading_eigenpairs(gram, min(subspace, rows - 1))
            squares = squares[:-1]


def _from_matrix(matrix: Array, count: int, subspace: int, gram: Array) -> Decomposition:
    """Without squaring the condition number, by the triangular factor of the shorter side."""
    basis, triangle = np.linalg.qr(matrix.T)
    left, values, _ = np.linalg.svd(triangle)
    values = values[:count]
    rank = numerical_rank(values, matrix.shape)
    right = basis @ left[:, : min(subspace, rank)]
    return Decomposition(values, rank, right, len(matrix), gram=gram)


def _tall(activations: Array, subspace: int) -> Geometry:
    """By the products of the columns, a block of rows at a time."""
    rows, columns = activations.shape
    mean = activations.mean(axis=0, dtype=np.float64)
    _refuse_broken(mean.sum())
    products = np.zeros((columns, columns))
    for block in _blocks(activations, mean):
        products += block.T @ block
    nothing = np.zeros_like(mean)
    found = []
    for offset, square, most in (
        (nothing, products + rows * np.outer(mean, mean), rows),
        (mean, products, rows - 1),
    ):
        count = min(most, columns)
        squares, right = leading_eigenpairs(square, min(subspace, count))
        squares = squares[:count]
        if squares[-1] > GRAM_LIMIT * squares[0]:
            values, rank = np.sqrt(squares), count
        else:
            triangle = np.zeros((0, columns))
            for block in _blocks(activations, offset):
                stacked = np.concatenate([triangle, block])
                triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
            _, values, turned = np.linalg.svd(triangle)
            values = values[:count]
            rank = numerical_rank(values, activations.shape)
            right = turned.T[:, : min(subspace, rank)]
        right = np.ascontiguousarray(right)
        found.append(Decomposition(values, rank, right, rows, matrix=activations, mean=offset))
    return Geometry(*found)


def _blocks(matrix: Array | None, mean: Array | None) -> Iterator[Array]:
    """Its rows in float64, their mean taken off, so many at a time as there are columns."""
    assert matrix is not None
    step = matrix.shape[1]
    for start in range(0, len(matrix), step):
        yield matrix[start : start + step] - mean


def _refuse_broken(total: float) -> None:
    if not np.isfinite(total):
        raise AtlasError("activations with NaN or Inf have no geometry.")


def comparison(base: Decomposition, model: Decomposition) -> dict[str, float | int | None]:
    """How much of the base a model keeps: subspaces of the same number of dimensions, and alignment.

    :raises AtlasError: where the two are of different numbers of prompts.
    """
    if base.rows != model.rows:
        raise AtlasError(
            f"activations of {base.rows} and {model.rows} rows cannot be compared; both "
            "have to be of the same prompts."
        )
    kept = min(base.right.shape[1], model.right.shape[1])
    cosines = principal_cosines(base.right[:, :kept], model.right[:, :kept])
    return {
        "subspace_dimensions": kept, "subspace_preservation": subspace_preservation(cosines),
        "projection_score": projection_score(cosines), "alignment": _alignment(base, model),
    }  # fmt: skip


def _alignment(base: Decomposition, model: Decomposition) -> float | None:
    """That of the kernels, by the products of the columns where there are more rows than columns."""
    if base.gram is not None and model.gram is not None:
        return kernel_alignment(base.gram, model.gram)
    blocks = [_blocks(d.matrix, d.mean) for d in (base, model)]
    across = sum(one.T @ other for one, other in zip(*blocks, strict=True))
    norms = np.prod([np.linalg.norm(d.singular_values**2) for d in (base, model)])
    return float(np.linalg.norm(across) ** 2 / norms) if norms > 0 else None


def measure_layers(
    base: Path, models: Mapping[str, Path], subspace: int = SUBSPACE
) -> Iterator[tuple[dict[str, Any], Array]]:
    """Measures of the base and of models, hook by hook, and their singular values.

    Each row (columns: COLUMNS) comes with the singular values, (r,) float64. ``centring`` is
    uncentred or centred; ``dimension_90``, ``rank`` and ``subspace_dimensions`` are numbers of
    dimensions. The base is named ``base`` and has no comparison. One layer of one model and of
    the base is in memory at a time.

    :param base: activations of the base. :param models: name -> activations of a model.
    :param subspace: dimensions of the subspaces that are compared, where there are so many.
    :raises AtlasError: where the prompts, hooks or widths of two files differ.
    """
    with contextlib.ExitStack() as stack:
        paths = {"base": base, **models}
        files = {name: stack.enter_context(StreamFile(path)) for name, path in paths.items()}
        for file in files.values():
            files["base"].check_same(file)
        for hook in files["base"].hooks:
            layer, stream = hook_place(hook)
            for name, file in files.items():
                found, turned = _at(file, hook, subspace)
                if name == "base":
                    reference, start = found, turned
                else:
                    distances = procrustes_distances(start, turned)
                for centring in CENTRINGS:
                    one: Decomposition = getattr(found, centring)
                    row = dict.fromkeys(COLUMNS)
                    row |= {"model": name, "layer": layer, "hook": stream, "centring": centring}
                    row |= {"prompts": file.rows, "dimensions": file.dimensions}
                    row |= measures(one.singular_values, one.rank)
                    if name != "base":
                        row |= comparison(getattr(reference, centring), one)
                        row[ALIGNMENT[centring]] = row.pop("alignment")
                        row["procrustes_distance"] = distances[centring]
                    yield row, one.singular_values


def _at(file: StreamFile, hook: str, subspace: int) -> tuple[Geometry, Representation]:
    activations = file.read(hook)
    try:
        return decompose(activations, subspace), Representation(activations)
    except AtlasError as error:
        raise AtlasError(f"{file.path}: {hook}: {error}") from None
