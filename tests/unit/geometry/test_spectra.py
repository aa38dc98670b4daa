from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.geometry.spectra import (
    condition_number,
    effective_rank,
    energy_dimension,
    measures,
    numerical_rank,
    participation_ratio,
    spectral_decay,
    stable_rank,
)

spectra = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30).map(
    lambda v: np.sort(np.array(v))[::-1]
)


@pytest.mark.parametrize("count", [1, 2, 10, 77])
@pytest.mark.parametrize("scale", [1.0, 1e-5, 3e4])
def test_equal_singular_values(count, scale):
    found = measures(np.full(count, scale), count)
    for key in ("effective_rank", "participation_ratio", "stable_rank"):
        assert found[key] == pytest.approx(count, rel=1e-12)
    assert found["condition_number"] == 1
    assert found["dimension_90"] == math.ceil(0.9 * count - 1e-9)
    if count > 1:
        assert found["spectral_decay"] == pytest.approx(0, abs=1e-12)
    assert found["spectral_decay_r2"] is None


def test_one_singular_value_of_several():
    found = measures(np.array([5.0, 0, 0, 0]), 1)
    for key in ("effective_rank", "participation_ratio", "stable_rank", "dimension_90"):
        assert found[key] == 1
    assert found["condition_number"] == math.inf
    assert (found["spectral_decay"], found["spectral_decay_r2"]) == (None, None)


def test_a_zero_matrix():
    found = measures(np.zeros(3), 0)
    assert [found[k] for k in ("effective_rank", "participation_ratio", "stable_rank")] == [0, 0, 0]
    assert (found["dimension_90"], found["condition_number"]) == (0, math.inf)


@pytest.mark.parametrize("power", [0.3, 1.0, 2.5])
def test_a_power_law(power):
    values = 7 * np.arange(1.0, 51) ** -power
    assert spectral_decay(values, 50) == (pytest.approx(power), pytest.approx(1, abs=1e-12))
    assert condition_number(values, 50) == pytest.approx(50**power)
    squares = np.arange(1.0, 51) ** (-2 * power)
    assert stable_rank(values) == pytest.approx(squares.sum())
    assert participation_ratio(values) == pytest.approx((squares**0.5).sum() ** 2 / squares.sum())
    # Rounding errors beyond the rank change nothing.
    longer = np.concatenate([values, [1e-18, 1e-19]])
    assert spectral_decay(longer, 50) == spectral_decay(values, 50)


def test_two_values_by_hand():
    values = np.array([3.0, 1.0])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert effective_rank(values) == pytest.approx(math.exp(entropy))
    assert participation_ratio(values) == pytest.approx(16 / 10)
    assert stable_rank(values) == pytest.approx(10 / 9)
    assert energy_dimension(values) == 1  # 9 of 10 is exactly the share
    assert energy_dimension(values, 0.91) == 2
    assert spectral_decay(values, 2) == (pytest.approx(math.log(3) / math.log(2)), pytest.approx(1))


@given(spectra, st.floats(1e-6, 1e6))
def test_bounds_and_scale(values, scale):
    count = len(values)
    found, other = measures(values, count), measures(values * scale, count)
    for key, value in other.items():
        # Whether a spectrum is flat is a matter of rounding where it nearly is.
        if value is not None and found[key] is not None and not key.endswith("_r2"):
            assert found[key] == pytest.approx(value, rel=1e-6, abs=1e-8)
    slack = 1 + 1e-9
    assert 1 / slack <= found["stable_rank"] <= found["participation_ratio"] * slack
    assert found["participation_ratio"] <= found["effective_rank"] * slack <= count * slack**2
    assert 1 <= found["dimension_90"] <= count


def test_rank():
    assert numerical_rank(np.array([1.0, 1e-10, 1e-18]), (3, 3)) == 2
    assert numerical_rank(np.zeros(2), (2, 2)) == numerical_rank(np.zeros(0), (1, 0)) == 0
