from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.geometry import eigenpairs as module
from atlas.geometry.eigenpairs import leading_eigenpairs, nested_eigenpairs


def check(matrix, count):
    """Of a matrix, and of its centred one, whether it is asked for by itself or beside it."""
    _check(matrix, *leading_eigenpairs(matrix, count), count)
    if len(matrix) > 1 and count:
        whole, centred = nested_eigenpairs(matrix, count)
        _check(matrix, *whole, count)
        size = len(matrix)
        taken = np.eye(size) - 1 / size
        inner = taken @ matrix @ taken
        inner = (inner + inner.T) / 2
        # The eigenvalue of (1, ..., 1), which is 0, is left out.
        values, vectors = centred
        assert values.shape == (size - 1,)
        largest = max(np.abs(np.linalg.eigvalsh(matrix)).max(), 1e-300)
        expected = np.delete(np.linalg.eigvalsh(inner), np.abs(np.linalg.eigvalsh(inner)).argmin())
        np.testing.assert_allclose(values, expected[::-1], atol=1e-13 * largest)
        less = min(count, size - 1)
        assert vectors.shape == (size, less)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(less), atol=1e-12)
        np.testing.assert_allclose(vectors.sum(axis=0), 0, atol=1e-12)
        product = vectors * values[:less]
        np.testing.assert_allclose(inner @ vectors, product, atol=1e-12 * largest)


def _check(matrix, values, vectors, count):
    size = max(np.abs(values).max(), 1e-300)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[::-1], atol=1e-13 * size)
    assert vectors.shape == (len(matrix), count)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(count), atol=1e-12)
    np.testing.assert_allclose(matrix @ vectors, vectors * values[:count], atol=1e-12 * size)


@given(st.integers(0, 10_000), st.integers(1, 30), st.floats(0, 1), st.sampled_from([0, 1, 6]))
def test_eigenpairs(seed, size, share, decay):
    draw = np.random.default_rng(seed)
    half = draw.normal(size=(size, size)) * 10.0 ** -(decay * np.linspace(0, 1, size))
    check(half @ half.T, int(share * size))


@pytest.mark.parametrize("count", [0, 1, 4, 10])
def test_equal_eigenvalues(count):
    check(np.eye(10), count)
    check(np.zeros((10, 10)), count)
    check(np.ones((10, 10)), count)
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(10, 10)))[0]
    check((lambda m: (m + m.T) / 2)(basis * [3, 3, 3, 2, 2, 1, 1, 1, 0, 0] @ basis.T), count)


def test_the_matrix_is_left_as_it_is():
    matrix = np.random.default_rng(2).normal(size=(20, 20))
    matrix += matrix.T
    before = matrix.copy()
    leading_eigenpairs(matrix, 5)
    nested_eigenpairs(matrix, 5)
    assert (matrix == before).all()


def test_where_inverse_iteration_fails(monkeypatch):
    matrix = np.random.default_rng(3).normal(size=(12, 12))
    matrix += matrix.T
    expected, nested = leading_eigenpairs(matrix, 3), nested_eigenpairs(matrix, 3)
    monkeypatch.setattr(module.lapack, "dstein", lambda d, *_: (np.zeros((len(d), 3)), 1))
    for one, other in zip(leading_eigenpairs(matrix, 3), expected, strict=True):
        np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-12)
    for pairs, others in zip(nested_eigenpairs(matrix, 3), nested, strict=True):
        for one, other in zip(pairs, others, strict=True):
            np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-12)


def test_a_mean_of_zero():
    """Then the reflected matrix falls apart into its mean and the rest."""
    rows = np.random.default_rng(4).normal(size=(12, 30))
    check((rows - rows.mean(axis=0)) @ (rows - rows.mean(axis=0)).T, 3)
