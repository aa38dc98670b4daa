from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity as sklearn_cosine

from atlas.errors import AtlasError
from atlas.spaces.embeddings import (
    Embeddings,
    cosine_of_gram,
    cosine_similarity,
    read_embeddings,
    write_embeddings,
)

NAMES = [f"m{i}" for i in range(9)]
vectors = hnp.arrays(
    np.float64, st.tuples(st.integers(2, 6), st.integers(1, 5)), elements=st.floats(-9, 9)
).filter(lambda x: (np.linalg.norm(x, axis=1) > 1e-3).all())


@given(vectors)
def test_cosine_is_that_of_scikit_learn(rows):
    found = cosine_similarity(rows, NAMES)
    np.testing.assert_allclose(found, sklearn_cosine(rows), atol=1e-12)
    np.testing.assert_allclose(cosine_of_gram(rows @ rows.T, NAMES), found, atol=1e-9)
    assert np.array_equal(found, found.T)
    assert (np.diag(found) == 1).all()


@given(vectors, st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_cosine_does_not_see_scale_rotation_or_order(rows, seed, random):
    found = cosine_similarity(rows, NAMES)
    rng = np.random.default_rng(seed)
    scaled = rows * rng.uniform(0.1, 10, size=(len(rows), 1))
    np.testing.assert_allclose(cosine_similarity(scaled, NAMES), found, atol=1e-9)
    rotation, _ = np.linalg.qr(rng.normal(size=(rows.shape[1], rows.shape[1])))
    np.testing.assert_allclose(cosine_similarity(rows @ rotation, NAMES), found, atol=1e-9)
    order = random.sample(range(len(rows)), len(rows))
    moved = cosine_similarity(rows[order], NAMES)
    np.testing.assert_allclose(moved, found[np.ix_(order, order)], atol=1e-12)


def test_a_zero_embedding_has_no_direction():
    rows = np.array([[1.0, 0], [0, 0]])
    for function, argument in ((cosine_similarity, rows), (cosine_of_gram, rows @ rows.T)):
        with pytest.raises(AtlasError, match="m1: the embedding is zero"):
            function(argument, NAMES)


def make(**more):
    return Embeddings("delta_activations", ["a", "é"], ["x", "y"], ["t", "t"], **more)


@pytest.mark.parametrize(
    "found",
    [
        make(dimension=2, embeddings=np.array([[1, 2], [3, 4]], dtype=np.float32)),
        make(dimension=10**9, similarity=np.array([[1, 0.1], [0.1, 1]])),
        make(dimension=0, reason="no common dimension"),
    ],
)
def test_round_trip_and_equal_bytes(tmp_path, found):
    write_embeddings(tmp_path / "a.npz", found)
    write_embeddings(tmp_path / "b.npz", found)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = read_embeddings(tmp_path / "a.npz")
    for key in ("space", "model_names", "domains", "base_model", "dimension", "reason"):
        assert getattr(read, key) == getattr(found, key)
    for key in ("embeddings", "similarity"):
        expected, there = getattr(found, key), getattr(read, key)
        assert (expected is None) == (there is None)
        if expected is not None:
            assert there.dtype == expected.dtype
            assert np.array_equal(there, expected)


@pytest.mark.parametrize("key", ["embeddings", "similarity"])
def test_not_finite_is_named(tmp_path, key):
    with pytest.raises(AtlasError, match="é: its embedding has NaN or Inf"):
        write_embeddings(
            tmp_path / "a.npz", make(dimension=2, **{key: np.array([[1, 2], [np.nan, 4]])})
        )
    assert not (tmp_path / "a.npz").exists()


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", space=np.array([{"x": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_embeddings(tmp_path / "a.npz")


def test_similarity_of_what_is_stored():
    rows = np.array([[1, 0], [1, 1]], dtype=np.float32)
    half = np.sqrt(0.5)
    expected = np.array([[1, half], [half, 1]])
    found = make(dimension=2, embeddings=rows).cosine_similarity()
    np.testing.assert_allclose(found, expected, atol=1e-15)
    assert make(dimension=9, similarity=expected).cosine_similarity() is expected
