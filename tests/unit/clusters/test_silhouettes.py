from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from atlas.clusters.neighbours import neighbours
from atlas.clusters.silhouettes import distance, no_silhouette, silhouettes
from atlas.files import read_csv
from atlas.spaces.embeddings import Embeddings, write_embeddings

DOMAINS = ["x", "x", "y", "y"]


def store(path, rows=None, domains=DOMAINS, names=None, space="delta_activations", **more):
    names = names or [f"m{i}" for i in range(len(domains))]
    if rows is not None:
        more = {"embeddings": np.array(rows, dtype=np.float32), "dimension": len(rows[0])}
    write_embeddings(path, Embeddings(space, names, list(domains), ["t"] * len(names), **more))
    return path


def scores(tmp_path, *files):
    silhouettes(embeddings=list(files), silhouette=tmp_path / "s.csv")
    return read_csv(tmp_path / "s.csv")


@given(st.integers(0, 10_000))
def test_silhouettes_are_those_of_scikit_learn(tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("s")
    rows = np.random.default_rng(seed).normal(size=(6, 3)).astype(np.float32)
    domains = ["x", "y", "z", "x", "y", "z"]
    found = scores(folder, store(folder / "e.npz", rows, domains))
    assert [row["distance"] for row in found] == ["cosine", "cosine_clipped"]
    expected = silhouette_score(rows.astype(np.float64), domains, metric="cosine")
    assert float(found[0]["silhouette"]) == pytest.approx(expected, abs=1e-9)
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1)[:, None]
    clipped = np.clip(1 - unit @ unit.T, 0, 1)
    np.fill_diagonal(clipped, 0)
    expected = silhouette_score(clipped, domains, metric="precomputed")
    assert float(found[1]["silhouette"]) == pytest.approx(expected, abs=1e-9)


def test_silhouette_by_hand(tmp_path):
    # Within a domain the distance is 0; between domains 1, or 2 unclipped for opposite vectors.
    (cosine, clipped) = scores(tmp_path, store(tmp_path / "e.npz", [[1, 0]] * 2 + [[-1, 0]] * 2))
    assert float(cosine["silhouette"]) == float(clipped["silhouette"]) == 1
    similarity = np.array([[1, 0.5, 0, -1], [0.5, 1, 0, -1], [0, 0, 1, 0.5], [-1, -1, 0.5, 1]])
    file = store(tmp_path / "e.npz", similarity=similarity, dimension=7, space="salient_mask")
    cosine, clipped = scores(tmp_path, file)
    # a = 0.5 for all; b: 1.5, 1.5, 1 and 2, or all 1 when clipped.
    assert float(cosine["silhouette"]) == pytest.approx((2 / 3 + 2 / 3 + 0.5 + 0.75) / 4)
    assert float(clipped["silhouette"]) == pytest.approx(0.5)
    assert (cosine["space"], cosine["dimension"], cosine["models"]) == ("salient_mask", "7", "4")


def test_distance():
    similarity = np.array([[1 + 1e-15, -0.5], [-0.5, 1]])
    assert distance(similarity, "cosine").tolist() == [[0, 1.5], [1.5, 0]]
    assert distance(similarity, "cosine_clipped").tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("domains", "reason"),
    [("xx", "at least two domains"), ("xyz", "at least two models"), ("xxy", ""), ("xyxy", "")],
)
def test_pools_without_a_silhouette(tmp_path, domains, reason):
    assert reason in no_silhouette(domains)
    assert bool(no_silhouette(domains)) == bool(reason)
    rows = np.eye(len(domains))
    found = scores(tmp_path, store(tmp_path / "e.npz", rows.tolist(), domains))
    assert all((row["silhouette"] == "") == bool(reason) for row in found)
    assert all(reason in row["reason"] for row in found)


def test_a_space_without_embeddings_has_an_empty_row(tmp_path):
    one = store(tmp_path / "a.npz", dimension=0, reason="other ranks", space="flattened_weights")
    other = store(tmp_path / "b.npz", np.eye(4).tolist())
    found = scores(tmp_path, one, other)
    assert [(r["space"], r["dimension"], r["reason"], r["silhouette"] == "") for r in found] == [
        ("flattened_weights", "", "other ranks", True), ("flattened_weights", "", "other ranks", True),
        ("delta_activations", "4", "", False), ("delta_activations", "4", "", False),
    ]  # fmt: skip
    neighbours(embeddings=[one, other], neighbours=tmp_path / "n.csv")
    assert {row["space"] for row in read_csv(tmp_path / "n.csv")} == {"delta_activations"}


def test_neighbours_by_hand(tmp_path):
    rows = [[1, 0], [0.9, 0.1], [0, 1], [0.2, 1]]
    file = store(tmp_path / "e.npz", rows, names=["a", "b", "c", "d"])
    neighbours(embeddings=[file], neighbours=tmp_path / "n.csv")
    found = read_csv(tmp_path / "n.csv")
    nearest = {(r["model"], int(r["rank"])): r["neighbour"] for r in found}
    assert [nearest["a", i] for i in (1, 2, 3)] == ["b", "d", "c"]
    assert [nearest[m, 1] for m in "bcd"] == ["a", "d", "c"]
    first = found[0]
    assert (first["domain"], first["neighbour_domain"]) == ("x", "x")
    assert float(first["similarity"]) == pytest.approx(0.9 / np.hypot(0.9, 0.1), abs=1e-7)
    mean = np.mean([float(r["silhouette"]) for r in found if r["rank"] == "1"])
    (cosine, _) = scores(tmp_path, file)
    assert mean == pytest.approx(float(cosine["silhouette"]))


def test_ten_neighbours_and_ties_by_name(tmp_path):
    names = [f"m{i:02}" for i in range(13)]
    rows = [[1, 0]] * 13
    file = store(tmp_path / "e.npz", rows, ["x"] * 6 + ["y"] * 7, names[::-1])
    neighbours(embeddings=[file], neighbours=tmp_path / "n.csv")
    found = [r for r in read_csv(tmp_path / "n.csv") if r["model"] == "m02"]
    assert [r["neighbour"] for r in found] == [n for n in names if n != "m02"][:10]
    assert [r["rank"] for r in found] == [str(i) for i in range(1, 11)]
