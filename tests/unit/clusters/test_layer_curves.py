from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import cosine_distances

from atlas.activations.activation_files import write_activations
from atlas.clusters.layer_curves import CURVE_COLUMNS, layer_curves, probe_curve, write_layer_curves
from atlas.clusters.significance import SEED, interval, silhouette_values
from atlas.clusters.silhouettes import distance
from atlas.files import read_csv
from atlas.spaces.delta_activations import embed as embed_delta_activations
from atlas.spaces.embeddings import cosine_similarity, read_embeddings
from unit.activations.feature_world import invented, stored
from unit.conftest import described


def plain_silhouette(vectors, domains):
    distances = cosine_distances(vectors)
    np.fill_diagonal(distances, 0)
    return silhouette_score(distances, domains, metric="precomputed")


def test_curves_are_the_silhouettes_of_scikit_learn(tmp_path):
    names = list("abcdef")
    domains = ["x", "x", "y", "y", "z", "z"]
    path = invented(tmp_path / "f", {"t": (4, 5)}, dict.fromkeys(names, (4, 5)))
    models = described(names, "t", domains)
    rows = layer_curves(features=[path], models=models)
    base = stored(path, "bases/t")["layers"].astype(float)
    deltas = np.stack([stored(path, f"models/{n}")["layers"] - base for n in names])
    expected = [
        ("layer", k, plain_silhouette(deltas[:, k].mean(axis=1), domains)) for k in range(4)
    ]
    for count in (1, 2, 3):
        scores = [
            plain_silhouette(deltas[:, -1, list(subset)].mean(axis=1), domains)
            for subset in itertools.combinations(range(3), count)
        ]
        expected.append(("probes", count, np.mean(scores)))
    assert [(r["curve"], r["value"]) for r in rows] == [e[:2] for e in expected]
    np.testing.assert_allclose([r["silhouette"] for r in rows], [e[2] for e in expected], atol=1e-9)
    assert {(r["space"], r["reason"]) for r in rows} == {("delta_activations", "")}
    assert all(r["low"] <= r["silhouette"] <= r["high"] for r in rows)
    # Its interval is that of silhouettes of pools.
    last = distance(cosine_similarity(deltas[:, 3].mean(axis=1), names), "cosine")
    sure = interval(silhouette_values(last, np.repeat(range(3), 2), 3), np.random.default_rng(SEED))
    assert (rows[3]["low"], rows[3]["high"]) == pytest.approx(sure)
    # The last layer with all probes is the embedding that the pool has.
    assert rows[3]["silhouette"] == rows[6]["silhouette"]
    write_activations(
        tmp_path / "a.h5", list("pqr"), {"t": stored(path, "bases/t")["layers"][-1]},
        {n: stored(path, f"models/{n}")["layers"][-1] for n in names},
    )  # fmt: skip
    embed_delta_activations(
        activations=tmp_path / "a.h5", models=models, embeddings=tmp_path / "e.npz"
    )
    vectors = read_embeddings(tmp_path / "e.npz").embeddings
    assert plain_silhouette(vectors, domains) == pytest.approx(rows[3]["silhouette"], abs=1e-6)

    write_layer_curves(features=[path], models=models, curves=tmp_path / "c.csv")
    written = read_csv(tmp_path / "c.csv")
    assert tuple(written[0]) == CURVE_COLUMNS
    assert [float(r["silhouette"]) for r in written] == [r["silhouette"] for r in rows]


def test_of_many_subsets_the_first_forty_are_taken():
    deltas = np.random.default_rng(0).normal(size=(4, 8, 3))
    domains = ["x", "x", "y", "y"]
    rows = probe_curve(deltas, list("abcd"), domains)
    assert [row["value"] for row in rows] == list(range(1, 9))
    for row in rows:
        subsets = list(itertools.combinations(range(8), row["value"]))
        assert len(subsets) == math.comb(8, row["value"])
        scores = [plain_silhouette(deltas[:, s].mean(axis=1), domains) for s in subsets[:40]]
        assert row["silhouette"] == pytest.approx(np.mean(scores), abs=1e-9)


def test_why_there_is_no_curve(tmp_path, world):
    bases = {"t": (2, 4), "deep": (3, 4), "wide": (2, 5)}
    path = invented(
        tmp_path / "f", bases, {"a": (2, 4), "b": (2, 4), "c": (2, 4), "d": (3, 4), "w": (2, 5)}
    )

    def rows_of(names, domains):
        own = {"d": "deep", "w": "wide"}
        models = [{"name": n, "base": own.get(n, "t"), "domain": x}
                  for n, x in zip(names, domains, strict=True)]  # fmt: skip
        found = layer_curves(features=[path], models=models)
        assert json.loads(json.dumps(found)) == found
        return [(r["curve"], r["value"], r["silhouette"] is None, r["reason"]) for r in found]

    width = "the models have activations of 4 and 5 dimensions"
    assert rows_of("abw", "xxy") == [("layer", None, True, width), ("probes", None, True, width)]
    assert rows_of("abd", "xxy") == [
        ("layer", None, True, "the models have 1 and 2 layers"),
        *(("probes", k, False, "") for k in (1, 2, 3)),
    ]
    assert {row[2:] for row in rows_of("abc", "xxx")} == {
        (True, "a silhouette needs at least two domains")
    }
    # No adapter moves the embeddings; the full model does.
    models = [m for m in world.models if m["base"] == "tiny"]
    curve = layer_curves(features=[world.file], models=models)
    assert curve[0]["reason"] == "lora4 does not differ from its base here"
    assert [r["silhouette"] is None for r in curve] == [True] + [False] * 5
