from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import subspace_angles
from scipy.sparse.linalg import svds
from scipy.stats import ortho_group

from atlas.geometry.principal_directions import (
    energy_by_chance,
    principal,
    principal_energy,
    principal_weights,
    turned,
)

SHAPES = st.sampled_from([(12, 20), (20, 12), (9, 9)])


def made(seed, shape, values):
    """A matrix with these singular values, and its singular vectors: left (m, m), right (n, n)."""
    m, n = shape
    draw = np.random.default_rng(seed)
    left, right = (ortho_group.rvs(size, random_state=draw) for size in (m, n))
    values = np.asarray(values, dtype=np.float64)
    k = len(values)
    return (left[:, :k] * values) @ right[:, :k].T, left, right


def rotation(basis, i, j, degrees):
    """The rotation by an angle in the plane of two columns of an orthogonal basis."""
    turn = np.eye(len(basis))
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn[i, i] = turn[j, j] = c
    turn[j, i], turn[i, j] = s, -s
    return basis @ turn @ basis.T


@pytest.mark.parametrize("degrees", [1e-6, 0.5, 30.0, 90.0])
@pytest.mark.parametrize("shape", [(12, 20), (20, 12)])
def test_a_rotation_by_a_known_angle_is_found(degrees, shape):
    weight, left, _ = made(1, shape, range(12, 0, -1))
    # One of four leading directions is turned towards one that is not among them.
    after = rotation(left, 2, 7, degrees) @ weight
    found = turned(principal(weight, 4), principal(after, 4))
    assert found.dimensions == 4
    assert found.left == pytest.approx([degrees, 0, 0, 0], abs=1e-8, rel=1e-4)
    assert found.right == pytest.approx(np.zeros(4), abs=1e-6)
    assert found.drift == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 1000), SHAPES, st.floats(-0.9, 3.0))
def test_a_scaled_matrix_drifts_by_its_factor_and_turns_nothing(seed, shape, more):
    weight, _, _ = made(seed, shape, np.linspace(5, 1, 9))
    found = turned(principal(weight, 3), principal((1 + more) * weight, 3))
    assert found.drift == pytest.approx(abs(more), abs=1e-9)
    assert np.concatenate([found.left, found.right]) == pytest.approx(np.zeros(6), abs=1e-4)


def test_drift_by_hand():
    one, two = np.diag([3.0, 4.0, 1.0]), np.diag([3.0, 2.0, 1.0])
    # The two leading values 4, 3 become 3, 2.
    found = turned(principal(one, 2), principal(two, 2))
    assert found.drift == pytest.approx(np.sqrt(2) / 5)


@given(st.integers(0, 1000), SHAPES, st.integers(1, 9))
def test_leading_directions_are_those_of_numpy(seed, shape, count):
    weight = np.random.default_rng(seed).normal(size=shape)
    left, values, right = np.linalg.svd(weight)
    found = principal(weight, count)
    assert found.values == pytest.approx(values[:count], rel=1e-9)
    expected = (left[:, :count] * values[:count]) @ right[:count]
    assert found.matrix == pytest.approx(expected, abs=1e-9)
    for basis in (found.left, found.right):
        assert basis.T @ basis == pytest.approx(np.eye(count), abs=1e-9)


@pytest.mark.parametrize("shape", [(60, 90), (90, 60)])
def test_small_rotations_are_those_of_lanczos_iteration(shape):
    draw = np.random.default_rng(3)
    weight = draw.normal(size=shape)
    after = weight + 0.001 * draw.normal(size=shape)
    one, two = (svds(w, 8, v0=np.ones(60)) for w in (weight, after))
    found = turned(principal(weight, 8), principal(after, 8))
    left = np.degrees(subspace_angles(one[0], two[0]))
    right = np.degrees(subspace_angles(one[2].T, two[2].T))
    assert 0.1 < left.max() < 10
    assert found.left == pytest.approx(left, abs=1e-6)
    assert found.right == pytest.approx(right, abs=1e-6)
    drift = np.linalg.norm(one[1] - two[1]) / np.linalg.norm(one[1])
    assert found.drift == pytest.approx(drift, rel=1e-6)


def test_a_lower_rank_has_fewer_directions():
    weight, _, _ = made(5, (12, 20), [3.0, 2.0])
    assert len(principal(weight, 4).values) == 2
    assert turned(principal(weight, 4), principal(weight, 1)).dimensions == 1


@given(st.integers(0, 1000), SHAPES)
def test_energy_is_all_within_and_none_beside_the_leading_subspaces(seed, shape):
    weight, left, right = made(seed, shape, np.linspace(5, 1, 9))
    base, draw = principal(weight, 3), np.random.default_rng(seed)
    within = left[:, :3] @ draw.normal(size=(3, 3)) @ right[:, :3].T
    beside = left[:, 3:] @ draw.normal(size=(shape[0] - 3, shape[1])) + 0.0
    half = left[:, :3] @ draw.normal(size=(3, 2)) @ right[:, 3:5].T
    assert principal_energy(within, base) == pytest.approx(1, abs=1e-9)
    assert principal_energy(beside, base) == pytest.approx(0, abs=1e-9)
    # Both sides count.
    assert principal_energy(half, base) == pytest.approx(0, abs=1e-9)
    equal = within / np.linalg.norm(within) + half / np.linalg.norm(half)
    assert principal_energy(equal, base) == pytest.approx(0.5, abs=1e-9)


def test_energy_of_random_updates_is_that_of_chance():
    weight, _, _ = made(7, (20, 30), range(20, 0, -1))
    base, draw = principal(weight, 5), np.random.default_rng(8)
    assert energy_by_chance(base) == 25 / 600
    found = [principal_energy(draw.normal(size=(20, 30)), base) for _ in range(400)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - energy_by_chance(base)) < 4 * error < 0.01
    # The same of updates of rank one, as adapters make.
    found = [principal_energy(np.outer(draw.normal(size=20), draw.normal(size=30)), base)
             for _ in range(400)]  # fmt: skip
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - energy_by_chance(base)) < 4 * error < 0.02


def test_principal_weights_are_the_largest_of_the_approximation():
    weight = np.diag([5.0, 4.0, 3.0, 2.0])
    mask = principal_weights(principal(weight, 2), 2 / 16)
    assert np.argwhere(mask).tolist() == [[0, 0], [1, 1]]
    weight, left, right = made(9, (12, 20), range(12, 0, -1))
    approximation = (left[:, :3] * [12, 11, 10]) @ right[:, :3].T
    mask = principal_weights(principal(weight, 3), 0.1)
    assert mask.sum() == 24
    assert np.abs(approximation)[mask].min() > np.abs(approximation)[~mask].max()
