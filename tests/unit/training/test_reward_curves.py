from __future__ import annotations

import numpy as np
import pytest

from atlas.errors import AtlasError
from atlas.files import write_csv
from atlas.training.reward_curves import mean_curve, reward_curve, slope


def test_a_line_and_a_constant():
    found = slope([(step, 0.1 + 0.02 * step) for step in range(1, 13)])
    assert (found.value, found.steps) == (pytest.approx(0.02), 12)
    assert (found.low, found.high) == pytest.approx((0.02, 0.02), abs=1e-8)
    flat = slope([(step, 0.25) for step in range(5)])
    assert (flat.value, flat.low, flat.high) == (0, 0, 0)


def test_the_interval_by_hand():
    """Four points: Sxx = 5, Sxy = 6; the residuals .3 -.9 .9 -.3 have the squares 1.8."""
    found = slope([(0, 1.0), (1, 1.0), (2, 4.0), (3, 4.0)])
    assert found.value == pytest.approx(1.2)
    error = (1.8 / 2 / 5) ** 0.5
    # The 97.5 % point of Student's t with two degrees of freedom.
    assert found.high - found.value == pytest.approx(4.302652729911275 * error)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_the_interval_covers():
    """In about 95 of 100 noisy curves the interval holds the true slope."""
    draw, steps = np.random.default_rng(3), np.arange(20)
    held = 0
    for _ in range(400):
        found = slope(list(zip(steps, 0.3 * steps + draw.normal(size=20), strict=True)))
        held += found.low <= 0.3 <= found.high
    assert 0.92 < held / 400 < 0.98


def test_too_few_steps_have_no_slope():
    assert slope([]) is None
    assert slope([(1, 0.5), (2, 0.7)]) is None


def test_the_mean_of_curves():
    assert mean_curve([[(1, 0.0), (2, 1.0), (3, 4.0)], [(2, 3.0), (1, 2.0)]]) == [
        (1, 1.0),
        (2, 2.0),
    ]
    assert mean_curve([]) == []


def written(path, rewards):
    columns = ("step", "loss", "reward")
    rows = [{"step": i, "loss": 0.5, "reward": reward} for i, reward in enumerate(rewards, start=1)]
    write_csv(path, columns, rows)
    return path


def test_the_curve_of_a_training(tmp_path):
    assert reward_curve(written(tmp_path / "a.csv", [0.1, None, 0.3])) == [(1, 0.1), (3, 0.3)]
    write_csv(tmp_path / "b.csv", ("step", "loss"), [{"step": 1, "loss": 0.5}])
    assert reward_curve(tmp_path / "b.csv") == []
    with pytest.raises(AtlasError, match=r"c\.csv: the reward of step 2 is nan"):
        reward_curve(written(tmp_path / "c.csv", [0.1, float("nan")]))
    rows = [{"step": 1, "reward": 0.5}, {"step": 1, "reward": 0.6}]
    write_csv(tmp_path / "d.csv", ("step", "reward"), rows)
    with pytest.raises(AtlasError, match=r"d\.csv: a step stands there twice"):
        reward_curve(tmp_path / "d.csv")
