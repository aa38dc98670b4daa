from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from atlas.geometry.procrustes import Representation, procrustes_distances

SHAPES = [(6, 20), (20, 6), (7, 7), (20, 21)]
seeds = st.integers(0, 10_000)


def distances(one, other):
    return procrustes_distances(Representation(one), Representation(other))


def plainly(one, other):
    """By the turn itself, of scipy."""
    one, other = (m / np.linalg.norm(m) for m in (one, other))
    turn, _ = scipy.linalg.orthogonal_procrustes(one, other)
    return np.linalg.norm(one @ turn - other)


def random(seed, shape, mean=3.0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=shape) + mean * draw.normal(size=shape[1])


@given(seeds, st.sampled_from(SHAPES), st.sampled_from([0.0, 3.0, 1e4]))
def test_the_same_as_scipys_turn(seed, shape, mean):
    one, other = (random(seed + i, shape, mean) for i in range(2))
    found = distances(one, other)
    assert found["uncentred"] == pytest.approx(plainly(one, other), abs=1e-6)
    centred = [m - m.mean(axis=0) for m in (one, other)]
    assert found["centred"] == pytest.approx(plainly(*centred), abs=1e-6)


@given(seeds, st.sampled_from(SHAPES), st.floats(0.01, 100))
def test_turns_scales_and_moves(seed, shape, scale):
    one = random(seed, shape)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(shape[1], shape[1])))[0]
    found = distances(one, scale * one @ turn)
    assert found["uncentred"] == pytest.approx(0, abs=1e-6)
    assert distances(one, scale * one @ turn + 5)["centred"] == pytest.approx(0, abs=1e-6)
    # A larger mean is another representation, uncentred only.
    assert distances(one, one + 5)["uncentred"] > 0.01


def test_by_hand():
    """Two singular values against one: ||X' Y||_* = 1 / sqrt(2)."""
    one, other = np.eye(2), np.array([[1.0, 0], [0, 0]])
    expected = math.sqrt(2 - 2 / math.sqrt(2))
    assert distances(one, other)["uncentred"] == pytest.approx(expected)
    # Different prompts: no turn of columns brings rows together.
    apart = np.array([[0.0, 0], [0, 1]])
    assert distances(other, apart)["uncentred"] == pytest.approx(math.sqrt(2))
    assert distances(one, np.zeros((2, 2))) == {"uncentred": None, "centred": None}
