from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atlas.geometry.model_statistics import ModelDifference, between_models

COUNTS = st.integers(2, 6)


def test_an_interval_by_hand():
    """Means 2 and 5, variances 2 and 8 of two models each: t with 50/34 degrees of freedom."""
    found = between_models(np.array([1.0, 3.0]), np.array([3.0, 7.0]))
    error, freedom = math.sqrt(2 / 2 + 8 / 2), (2 / 2 + 8 / 2) ** 2 / ((2 / 2) ** 2 + (8 / 2) ** 2)
    half = stats.t.ppf(0.975, freedom) * error
    assert found.difference == 3
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(3 / error, freedom))


@given(st.integers(0, 10_000), COUNTS, COUNTS)
def test_the_interval_is_that_of_scipy_and_agrees_with_p(seed, n_sft, n_rl):
    draw = np.random.default_rng(seed)
    sft, rl = draw.normal(size=n_sft), draw.normal(1.0, 2.0, size=n_rl)
    expected = stats.ttest_ind(rl, sft, equal_var=False)
    found, swapped = between_models(sft, rl), between_models(rl, sft)
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(
    ("sft", "rl"), [([1.0], [2.0, 4.0]), ([1.0, 1.5], [2.75]), ([1.0, 1.0], [3.0, 3.0, 3.0])]
)
def test_one_model_of_a_side_or_no_variation_has_no_interval(sft, rl):
    found = between_models(np.array(sft), np.array(rl))
    assert found == ModelDifference(np.mean(rl) - np.mean(sft))
    assert found.low is found.high is found.p is None


def test_one_side_that_varies_is_enough():
    assert between_models(np.array([1.0, 1.0]), np.array([2.0, 4.0])).low is not None
