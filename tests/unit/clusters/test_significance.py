from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import silhouette_samples, silhouette_score

from atlas.clusters.significance import significance, silhouette_values


def distances(points) -> np.ndarray:
    points = np.asarray(points, dtype=float)
    return np.abs(points[:, None] - points[None, :])


@given(st.integers(0, 10_000), st.integers(4, 12), st.integers(2, 4))
def test_values_are_those_of_scikit_learn(seed, count, labels):
    generator = np.random.default_rng(seed)
    matrix = distances(generator.normal(size=count))
    codes = generator.integers(labels, size=count)
    found = len(set(codes))
    if not 2 <= found <= count - 1:
        return
    expected = silhouette_samples(matrix, codes, metric="precomputed")
    assert silhouette_values(matrix, codes, labels) == pytest.approx(expected, abs=1e-12)


def test_values_by_hand():
    # a: 1, 1; b of the first: mean distance to 10 and 12 = 11; of the second: 10.
    found = silhouette_values(distances([0, 1, 10, 12]), np.array([0, 0, 1, 1]), 2)
    assert found == pytest.approx([1 - 1 / 11, 1 - 1 / 10, 1 - 2 / 9.5, 1 - 2 / 11.5])


def test_p_value_is_near_that_of_all_permutations():
    matrix = distances([0, 1.5, 2, 4, 5, 9])
    labels = ["x", "y", "x", "y", "y", "x"]
    observed = silhouette_score(matrix, labels, metric="precomputed")
    every = [silhouette_score(matrix, list(p), metric="precomputed") for p in permutations(labels)]
    exact = np.mean(np.array(every) >= observed - 1e-12)
    found = significance(matrix, labels)
    assert found.p_value == pytest.approx(exact, abs=0.05)


def test_clear_clusters_are_sure_and_noise_is_not():
    clear = significance(distances([0, 0.1, 0.2, 5, 5.1, 5.2, 9, 9.1, 9.2]), list("aaabbbccc"))
    # 1,680 ways to deal nine points to three labels, 6 of them these clusters.
    assert clear.p_value < 0.02
    assert clear.low > 0.8
    noise = significance(distances([0, 1, 2, 3, 4, 5]), list("ababab"))
    assert noise.p_value > 0.3
    assert noise.low < noise.high < 0.5


def test_interval_holds_the_silhouette_and_is_the_same_each_time():
    matrix = distances(np.random.default_rng(3).normal(size=20))
    labels = ["x"] * 10 + ["y"] * 10
    found = significance(matrix, labels)
    assert found == significance(matrix, labels)
    assert found.low <= silhouette_score(matrix, labels, metric="precomputed") <= found.high


def test_interval_is_that_of_a_mean():
    """With equal silhouettes there is nothing to be unsure of."""
    found = significance(distances([0, 0, 5, 5]), list("aabb"))
    assert (found.low, found.high) == (1.0, 1.0)
    # Two of six labellings of four points have it: p is near 1/3.
    assert found.p_value == pytest.approx(1 / 3, abs=0.05)
