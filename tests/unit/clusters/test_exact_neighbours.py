from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.clusters import exact_neighbours as module
from atlas.clusters.exact_neighbours import nearest
from atlas.errors import AtlasError


def vectors(seed, n=60, width=7, copies=0):
    """Random vectors, some of them equal or nearly so."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n, width))
    for i in range(copies):
        rows[i] = 3 * rows[-1 - i % 3] + (i % 2) * 1e-6 * generator.normal(size=width)
    return rows.astype(np.float32)


def plainly(rows, names, ranks):
    """All pairs in float64, sorted by cosine and name."""
    unit = rows.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    for i in range(len(rows)):
        cosines = np.einsum("ij,j->i", unit, unit[i])
        others = sorted(
            (j for j in range(len(rows)) if j != i), key=lambda j: (-cosines[j], names[j])
        )
        yield i, others[:ranks], [float(cosines[j]) for j in others[:ranks]]


@given(st.integers(0, 10_000), st.integers(0, 30))
def test_nearest_are_those_of_all_pairs(seed, copies):
    rows = vectors(seed, copies=copies)
    names = [f"m{(17 * i) % 60:02}" for i in range(60)]
    assert list(nearest(rows, names, 10)) == list(plainly(rows, names, 10))


def test_blocks_change_nothing(monkeypatch):
    rows = vectors(1, 50, 300, copies=30)
    names = [f"m{i:02}" for i in range(50)]
    expected = list(nearest(rows, names, 10))
    monkeypatch.setattr(module, "ROWS", 7)
    monkeypatch.setattr(module, "EXACT_ROWS", 3)
    assert list(nearest(rows, names, 10)) == expected


def test_what_single_precision_cannot_tell_apart():
    # Cosines to the first differ by 1e-9: equal in float32, and not in float64.
    angles = 0.5 + 1e-9 * np.array([0, 4, 1, 3, 2])
    rows = np.zeros((6, 2), dtype=np.float64)
    rows[0] = [1, 0]
    rows[1:] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rows = rows.astype(np.float32)
    names = list("abcdef")
    assert list(nearest(rows, names, 3)) == list(plainly(rows, names, 3))


def test_a_zero_vector_is_named():
    rows = vectors(1)
    rows[4] = 0
    with pytest.raises(AtlasError, match="m4: the embedding is zero"):
        list(nearest(rows, [f"m{i}" for i in range(60)], 10))


def test_fewer_models_than_ranks():
    rows = vectors(2, 4)
    assert [len(near) for _, near, _ in nearest(rows, list("abcd"), 10)] == [3] * 4
