from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from atlas.errors import AtlasError
from atlas.geometry import paired_statistics as module
from atlas.geometry.paired_statistics import (
    bootstrap_interval,
    cohens_d,
    compare,
    decision,
    holm,
    sign_flip_p_value,
    welch,
)


@given(st.integers(0, 10_000), st.integers(2, 10))
def test_sign_flips_are_those_of_scipy(seed, count):
    x = np.random.default_rng(seed).normal(0.4, size=count)
    expected = stats.permutation_test(
        (x,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf,
        vectorized=True,
    )  # fmt: skip
    assert sign_flip_p_value(x) == pytest.approx(expected.pvalue, abs=1e-12)


def test_random_sign_flips_are_near_all_of_them(monkeypatch):
    x = np.random.default_rng(4).normal(0.5, size=12)
    every = sign_flip_p_value(x)
    monkeypatch.setattr(module, "PERMUTATIONS", 4000)
    assert sign_flip_p_value(x) == pytest.approx(every, abs=0.02)
    assert sign_flip_p_value(x) == sign_flip_p_value(x)
    # Even the smallest p-value counts the observed signs.
    assert sign_flip_p_value(np.ones(40)) == 1 / 4001


def test_sign_flips_by_hand():
    assert sign_flip_p_value(np.array([1.0])) == 1
    assert sign_flip_p_value(np.array([1.0, 2.0, 4.0])) == 2 / 8
    assert sign_flip_p_value(np.array([0.1, 0.2, 0.3, -0.6])) == 1


def test_bootstrap_is_near_that_of_scipy():
    x = np.random.default_rng(5).normal(2, 3, size=30)
    expected = stats.bootstrap(
        (x,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap_interval(x) == pytest.approx(tuple(expected), abs=0.06)
    assert bootstrap_interval(x) == bootstrap_interval(x)
    assert bootstrap_interval(np.array([3.0, 3.0])) == (3.0, 3.0)


def test_welch_and_cohen_by_hand():
    one, other = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])
    t, df, p = welch(one, other)
    assert t == pytest.approx(-2 / math.sqrt(1 / 3 + 4 / 3))
    assert df == pytest.approx((5 / 3) ** 2 / ((1 / 3) ** 2 / 2 + (4 / 3) ** 2 / 2))
    assert p == pytest.approx(2 * stats.t.cdf(t, df))
    assert cohens_d(one, other) == pytest.approx(-2 / math.sqrt(2.5))
    assert welch(one[:1], other) == welch(one * 0, other * 0) == (None, None, None)
    assert cohens_d(one[:1], other) is None
    assert cohens_d(one * 0, other * 0) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm(p_values):
    found = holm(p_values)
    order = np.argsort(p_values)
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1, p_values[i] * (len(p_values) - rank)))
        assert found[i] == running
    assert max(found) <= 1
    assert holm([None, *p_values]) == [None, *found]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(
    ("difference", "d", "p", "expected"),
    [
        (0.1, 0.9, 0.001, "strong"), (0.1, 0.4, 0.001, "moderate"), (0.1, 0.9, 0.03, "moderate"),
        (0.1, 0.2, 0.001, "weak"), (0.1, 0.9, 0.05, "weak"), (-0.1, -0.9, 0.04, "unexpected"),
        (-0.1, -0.9, 0.06, "weak"), (0.0, None, 1.0, "weak"), (0.1, None, 0.001, "strong"),
        (-0.1, None, 0.001, "unexpected"),
    ],
)  # fmt: skip
def test_decision(difference, d, p, expected):
    assert decision(difference, d, p) == expected


def values(layers, tasks, mean, seed):
    draw = np.random.default_rng(seed)
    return {(i, t): float(draw.normal(mean, 0.05)) for i in range(layers) for t in tasks}


def test_rows():
    tasks = ("gsm8k", "humaneval", "logiqa")
    sft, rl = values(8, tasks, 0.5, 1), values(8, tasks, 0.9, 2)
    rows = compare("subspace_preservation", sft, rl)
    assert [row["layer"] for row in rows] == [*range(8), "all"]
    assert all(set(row) == set(module.COLUMNS) for row in rows)
    first, last = rows[0], rows[-1]
    one, other = ([side[0, t] for t in tasks] for side in (rl, sft))
    expected = stats.ttest_ind(one, other, equal_var=False)
    assert (first["welch_t"], first["p_welch"]) == (expected.statistic, expected.pvalue)
    assert first["difference"] == pytest.approx(np.mean(one) - np.mean(other))
    # Three tasks have eight patterns of signs: no layer can be significant on its own.
    assert {row["p_permutation"] for row in rows[:-1]} == {0.25}
    assert {row["p_permutation_corrected"] for row in rows[:-1]} == {1.0}
    assert {(row["pairs"], row["correction"], row["decision"]) for row in rows[:-1]} == {
        (3, "holm", None)
    }
    assert (last["pairs"], last["layers"], last["correction"]) == (24, 8, "bonferroni")
    assert last["p_permutation_corrected"] == 8 * last["p_permutation"]
    assert last["decision"] == "strong"
    assert last["low"] < last["difference"] < last["high"]
    assert compare("m", rl, sft)[-1]["decision"] == "unexpected"
    assert compare("m", sft, sft)[-1]["decision"] == "weak"


def test_pairs_that_are_not():
    with pytest.raises(AtlasError, match="no pairs"):
        compare("m", {}, {})
    with pytest.raises(AtlasError, match="m: RL has no value in layer 1 of b"):
        compare("m", {(0, "a"): 1.0, (1, "b"): 2.0}, {(0, "a"): 1.0})
    with pytest.raises(AtlasError, match="m: SFT has the value nan in layer 0 of a"):
        compare("m", {(0, "a"): math.nan}, {(0, "a"): 1.0})
