from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.geometry.layer_paths import menger_curvature, signature, signature_distances

seeds = st.integers(0, 10_000)


def walks(seed, count=3, layers=7, width=4):
    return np.random.default_rng(seed).normal(size=(count, layers, width)).cumsum(axis=1)


def rotation(seed, width):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


@given(st.floats(0.01, 1000), seeds, st.lists(st.floats(0.05, 0.9), min_size=3, max_size=9))
def test_a_circle_has_one_over_its_radius(radius, seed, steps):
    """Whatever the steps along it, and however it lies in space."""
    angles = np.cumsum(steps)
    circle = radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    turned = circle @ rotation(seed, 3) + 5 * radius
    assert menger_curvature(turned[None]) == pytest.approx([1 / radius], rel=1e-6)


def test_a_line_a_corner_and_a_standing_path():
    line = np.array([0.0, 1, 3, 3.5])[:, None] * np.array([[3.0, 4]])
    # A right angle between steps of 3 and 4: the circle through it has the diameter 5.
    corner = np.array([[0.0, 0], [3, 0], [3, 4], [3, 4]])
    still, there_and_back = np.ones((4, 2)), np.array([[0.0, 0], [1, 0], [0, 0], [1, 0]])
    found = menger_curvature(np.stack([line, corner, still, there_and_back]))
    assert found[0] == pytest.approx(0, abs=1e-15)
    assert found[1] == pytest.approx(2 / 5)
    assert np.isnan(found[2:]).all()
    assert np.isnan(menger_curvature(line[None, :2])).all()


@given(seeds, st.floats(0.01, 100))
def test_curvature_ignores_place_and_turn_and_knows_scale(seed, scale):
    paths = walks(seed)
    found = menger_curvature(paths)
    assert menger_curvature(paths @ rotation(seed, 4) + 3) == pytest.approx(found)
    assert menger_curvature(scale * paths) == pytest.approx(found / scale)


@given(seeds, st.integers(2, 6), st.integers(1, 5))
def test_the_signature_of_a_line(seed, layers, width):
    """Powers of the displacement over factorials, at whatever speed it is walked."""
    draw = np.random.default_rng(seed)
    way = draw.normal(size=width)
    line = np.sort(draw.uniform(size=layers))[:, None] * way
    d = line[-1] - line[0]
    first, second, third = (level[0] for level in signature(line[None]))
    np.testing.assert_allclose(first, d, atol=1e-12)
    np.testing.assert_allclose(second, np.einsum("i,j->ij", d, d) / 2, atol=1e-12)
    np.testing.assert_allclose(third, np.einsum("i,j,k->ijk", d, d, d) / 6, atol=1e-12)


def test_a_corner_by_hand():
    """One step along x, one along y: the integrals over ordered times, by hand."""
    first, second, third = (s[0] for s in signature(np.array([[[0.0, 0], [1, 0], [1, 1]]])))
    assert first.tolist() == [1, 1]
    assert second.tolist() == [[0.5, 1], [0, 0.5]]
    # xxx and yyy: 1/6; xxy and xyy: 1/2; what has y before x: 0.
    expected = np.zeros((2, 2, 2))
    expected[0, 0, 0] = expected[1, 1, 1] = 1 / 6
    expected[0, 0, 1] = expected[0, 1, 1] = 1 / 2
    np.testing.assert_allclose(third, expected, atol=1e-15)


@given(seeds, st.integers(1, 5))
def test_chens_identity(seed, cut):
    paths = walks(seed)
    (a1, a2, a3), (b1, b2, b3) = signature(paths[:, : cut + 1]), signature(paths[:, cut:])
    first, second, third = signature(paths)
    np.testing.assert_allclose(first, a1 + b1, atol=1e-9)
    np.testing.assert_allclose(second, a2 + b2 + np.einsum("ni,nj->nij", a1, b1), atol=1e-9)
    both = np.einsum("nij,nk->nijk", a2, b1) + np.einsum("ni,njk->nijk", a1, b2)
    np.testing.assert_allclose(third, a3 + b3 + both, atol=1e-8)


@given(seeds, st.floats(0.01, 100))
def test_distances(seed, scale):
    one, other = walks(seed, count=20), walks(seed + 1, count=20)
    found = signature_distances(one, other)
    assert signature_distances(one, one) == pytest.approx(np.zeros(20), abs=1e-12)
    # A turn or scale of both, and where they start, change nothing.
    turn = rotation(seed, 4)
    assert signature_distances(scale * one @ turn, scale * other @ turn + 1) == pytest.approx(found)


def test_a_distance_by_hand():
    """A line of length 2 against itself backwards: the odd levels change their sign, the even one not."""
    line = np.array([[[0.0, 0], [0, 2]]])
    assert signature_distances(line, -line) == pytest.approx([2 * math.sqrt(1 + 1 / 36)])
    # Half as long: 1 - 1/2, (1 - 1/4) / 2, (1 - 1/8) / 6.
    expected = math.sqrt(0.5**2 + 0.375**2 + (0.875 / 6) ** 2)
    assert signature_distances(line, line / 2) == pytest.approx([expected])
    assert np.isnan(signature_distances(0 * line, line)).all()
