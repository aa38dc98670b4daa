from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import silhouette_samples

from atlas.clusters import silhouette_sums
from atlas.clusters.neighbours import neighbours
from atlas.clusters.silhouette_sums import cosine_silhouettes
from atlas.clusters.silhouettes import silhouettes
from atlas.files import read_csv
from atlas.spaces import embeddings
from unit.clusters.test_silhouettes import store


@given(st.integers(0, 10_000))
def test_silhouettes_are_those_of_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(30, 5)).astype(np.float32)
    labellings = [generator.permutation([0] * 9 + [1] * 20 + [2]) for _ in range(3)]
    found = cosine_silhouettes(rows, [""] * 30, labellings, 3)
    for codes, values in zip(labellings, found, strict=True):
        expected = silhouette_samples(rows.astype(np.float64), codes, metric="cosine")
        np.testing.assert_allclose(values, expected, atol=1e-12)


def test_blocks_change_nothing_but_the_last_digits(monkeypatch):
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(40, 6)).astype(np.float32)
    labellings = [generator.integers(4, size=40) for _ in range(5)]
    whole = cosine_silhouettes(rows, [""] * 40, labellings, 4)
    monkeypatch.setattr(embeddings, "BLOCK", 7)
    monkeypatch.setattr(silhouette_sums, "SUMS", 8)
    parts = cosine_silhouettes(rows, [""] * 40, labellings, 4)
    np.testing.assert_allclose(np.stack(parts), np.stack(whole), atol=1e-14)


def test_a_large_pool_has_the_figures_of_a_small_one(tmp_path, monkeypatch):
    generator = np.random.default_rng(2)
    centres = generator.normal(size=(3, 8))
    domains = [f"d{i % 3}" for i in range(45)]
    rows = centres[np.arange(45) % 3] + generator.normal(size=(45, 8))
    file = store(tmp_path / "e.npz", rows.tolist(), domains)

    def both(name):
        silhouettes(embeddings=[file], silhouette=tmp_path / f"{name}.csv")
        neighbours(embeddings=[file], neighbours=tmp_path / f"{name}-n.csv")
        return read_csv(tmp_path / f"{name}.csv"), read_csv(tmp_path / f"{name}-n.csv")

    (small, small_near), _ = both("small"), monkeypatch.setattr(embeddings, "ALL_PAIRS", 44)
    (cosine, clipped), large_near = both("large")
    assert float(cosine["silhouette"]) == pytest.approx(float(small[0]["silhouette"]), abs=1e-12)
    assert (cosine["p_value"], small[0]["p_value"]) == ("0.01", "0.000999000999000999")
    for key in ("low", "high"):  # other draws of the same kind
        assert float(cosine[key]) == pytest.approx(float(small[0][key]), abs=0.02)
    assert clipped["silhouette"] == ""
    assert "above 5,000 models" in clipped["reason"]
    for one, other in zip(small_near, large_near, strict=True):
        assert {k: one[k] for k in ("model", "rank", "neighbour", "neighbour_domain")} == {
            k: other[k] for k in ("model", "rank", "neighbour", "neighbour_domain")
        }
        for key in ("similarity", "silhouette"):
            assert float(one[key]) == pytest.approx(float(other[key]), abs=1e-12)
