from __future__ import annotations

import numpy as np
import pytest

from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.selection.ranking import find_models, rank_models, ranking
from atlas.spaces.embeddings import Embeddings, write_embeddings

POOL = Embeddings(
    "delta_activations", ["a", "b", "c", "d"], ["x", "x", "y", "y"], ["one", "one", "one", "two"], 2,
    embeddings=np.array([[1, 0], [0, 2], [3, 3], [1, 1]], dtype=np.float32),
)  # fmt: skip
TASK = Embeddings(
    "delta_activations", ["q", "r"], ["t", "t"], ["one", "two"], 2,
    embeddings=np.array([[5, 0], [-1, -1]], dtype=np.float32),
)  # fmt: skip


def test_models_of_the_query_s_base_by_cosine():
    found = ranking(POOL, TASK, ["q", "r"])
    assert [(r["base"], r["rank"], r["model"], r["domain"]) for r in found] == [
        ("one", 1, "a", "x"), ("one", 2, "c", "y"), ("one", 3, "b", "x"), ("two", 1, "d", "y"),
    ]  # fmt: skip
    assert [r["similarity"] for r in found] == pytest.approx([1, 0.5**0.5, 0, -1])


def test_files(tmp_path):
    write_embeddings(tmp_path / "pool.npz", POOL)
    write_embeddings(tmp_path / "task.npz", TASK)
    rank_models(pool=tmp_path / "pool.npz", task=tmp_path / "task.npz", query="q",
                models=tmp_path / "models.csv")  # fmt: skip
    assert [r["model"] for r in read_csv(tmp_path / "models.csv")] == ["a", "c", "b"]
    find_models(pool=tmp_path / "pool.npz", task=tmp_path / "task.npz", queries=["q", "r"],
                name="mine", models=tmp_path / "m.csv", page=tmp_path / "m.md",
                figure=[tmp_path / "m.svg", tmp_path / "m.png"])  # fmt: skip
    assert len(read_csv(tmp_path / "m.csv")) == 4
    assert "| 1 | a | x | one | 1.000 |" in (tmp_path / "m.md").read_text()
    assert (tmp_path / "m.png").stat().st_size > 1000


def test_nothing_to_rank():
    empty = Embeddings("delta_activations", ["a"], ["x"], ["one"], 0, reason="no common dimension")
    with pytest.raises(AtlasError, match="nothing can be ranked: no common dimension"):
        ranking(empty, TASK, ["q"])
    with pytest.raises(AtlasError, match="r: the pool has no model of two"):
        ranking(Embeddings(**{**vars(POOL), "base_model": ["one"] * 4}), TASK, ["r"])
