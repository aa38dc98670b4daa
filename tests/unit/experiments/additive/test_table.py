from __future__ import annotations

import numpy as np
import pytest

from atlas.experiments.additive.table import additive_table
from atlas.files import read_csv
from atlas.spaces.embeddings import cosine
from unit.experiments.tables import store


def test_cosine():
    assert cosine(np.array([1, 0]), np.array([1, 1])) == pytest.approx(2**-0.5)
    assert cosine(np.array([2, 0]), np.array([-3, 0])) == -1


def test_mixtures_against_their_parts_and_their_sum(tmp_path, places, published):
    file = store(tmp_path / "p", ["x", "y", "xy"], ["coding", "math", "coding+math"],
                 [[1, 0], [0, 2], [3, 4]])  # fmt: skip
    entry = {"pool": "p", "seed": 1, "folder": "p", "base": "b", "mixed": "xy", "first": "x", "second": "y",
             "first_domain": "coding", "second_domain": "math"}  # fmt: skip
    additive_table(
        embeddings=[file], mixtures=[entry], published=published, name="additive", **places
    )
    (row,) = read_csv(places["table"])
    found = [float(row[f"cosine_{k}"]) for k in ("first", "second", "sum")]
    assert found == pytest.approx([3 / 5, 4 / 5, (3 + 8) / 5 / 5**0.5])
    # Published as math + coding: the first of ours is the second of theirs.
    assert [row[f"published_cosine_{k}"] for k in ("first", "second", "sum")] == ["0.2", "0.7", ""]
    assert "in 1 of 1 pairs" in places["page"].read_text()
    assert all(f.stat().st_size > 1000 for f in places["figure"])


def test_repetitions_have_a_mean_and_a_spread(tmp_path, places, published):
    for seed, turn in ((1, 0.0), (2, 1.0)):
        store(tmp_path / f"p.{seed}", ["x", "y", "xy"], ["math", "coding", "coding+math"],
              [[1, 0], [0, 1], [1, turn]])  # fmt: skip
    entry = {"pool": "p", "base": "b", "mixed": "xy", "first": "x", "second": "y",
             "first_domain": "math", "second_domain": "coding"}  # fmt: skip
    mixtures = [{**entry, "seed": seed, "folder": f"p.{seed}"} for seed in (1, 2)]
    files = [tmp_path / f"p.{seed}/delta_activations/embeddings.npz" for seed in (1, 2)]
    additive_table(
        embeddings=files, mixtures=mixtures, published=published, name="additive", **places
    )
    found = {row["seed"]: row for row in read_csv(places["table"])}
    assert list(found) == ["1", "2", "mean", "spread"]
    # With the first part: 1 and 2 ** -0.5; with the sum: 2 ** -0.5 and 1.
    half = 2**-0.5
    assert float(found["mean"]["cosine_first"]) == pytest.approx((1 + half) / 2)
    assert float(found["spread"]["cosine_sum"]) == pytest.approx((1 - half) / 2**0.5)
    assert found["mean"]["published_cosine_first"] == "0.7"
