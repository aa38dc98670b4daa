from __future__ import annotations

import numpy as np
import pytest

from atlas.clusters import approximate_neighbours as module
from atlas.clusters.approximate_neighbours import nearest_approximately
from atlas.clusters.neighbours import neighbours
from atlas.errors import AtlasError
from atlas.files import read_csv
from unit.clusters.test_exact_neighbours import plainly, vectors
from unit.clusters.test_silhouettes import store


def clustered(n, width, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(20, width))
    rows = centres[np.arange(n) % 20] + 0.5 * generator.normal(size=(n, width))
    return rows.astype(np.float32), [f"m{i:04}" for i in range(n)]


def test_most_neighbours_are_found_and_the_recall_says_how_many(monkeypatch):
    monkeypatch.setattr(module, "PROBED", 2)
    rows, names = clustered(2000, 24)
    recall, found = nearest_approximately(rows, names, 10)
    found, exact = list(found), list(plainly(rows, names, 10))
    assert [i for i, _, _ in found] == list(range(2000))
    shares = [len({*a} & {*b}) / 10 for (_, a, _), (_, b, _) in zip(found, exact, strict=True)]
    assert 0.5 < recall < 1
    # Of a quarter of the models: their mean is that of all, to four standard errors.
    assert recall == pytest.approx(np.mean(shares), abs=4 * np.std(shares) / 500**0.5)
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1)[:, None]
    for i, near, cosines in found:
        assert len({*near}) == 10
        assert i not in near
        assert cosines == sorted(cosines, reverse=True)
        if i % 500 == 0:
            assert cosines == pytest.approx((unit[near] @ unit[i]).tolist(), abs=1e-14)


def test_all_cells_give_the_exact_neighbours(monkeypatch):
    rows, names = clustered(300, 8)
    monkeypatch.setattr(module, "PROBED", 1000)
    recall, found = nearest_approximately(rows, names, 10)
    assert recall == 1
    assert list(found) == list(plainly(rows, names, 10))


def test_a_model_whose_cells_hold_too_few_is_compared_with_all(monkeypatch):
    rows, names = clustered(40, 8)
    monkeypatch.setattr(module, "PROBED", 1)
    _, found = nearest_approximately(rows, names, 10)
    assert [len(near) for _, near, _ in found] == [10] * 40


@pytest.mark.parametrize("n", [2, 3, 11])
def test_small_pools(n):
    rows = vectors(1, n)
    recall, found = nearest_approximately(rows, [f"m{i:02}" for i in range(n)], 10)
    assert recall == 1
    assert [len(near) for _, near, _ in found] == [min(10, n - 1)] * n


def test_the_table_tells_the_recall(tmp_path):
    rows, _ = clustered(400, 8)
    file = store(tmp_path / "e.npz", rows.tolist(), [f"d{i % 20}" for i in range(400)])
    for search in ("exact", "faiss"):
        neighbours(embeddings=[file], neighbours=tmp_path / search, search=search)
    exact, found = read_csv(tmp_path / "exact"), read_csv(tmp_path / "faiss")
    assert {row["recall"] for row in exact} == {"1.0"}
    (recall,) = {float(row["recall"]) for row in found}
    pairs = [{(row["model"], row["neighbour"]) for row in table} for table in (exact, found)]
    assert len(found) == len(exact) == 4000
    assert recall == pytest.approx(len(pairs[0] & pairs[1]) / 4000)  # all 400 are the sample


def test_similarities_without_vectors_are_refused(tmp_path):
    file = store(tmp_path / "e.npz", similarity=np.eye(4), dimension=7, space="salient_mask")
    with pytest.raises(AtlasError, match=r"^salient_mask has similarities and no vectors"):
        neighbours(embeddings=[file], neighbours=tmp_path / "n.csv", search="faiss")
