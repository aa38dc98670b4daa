"""Tables of experiments, on embeddings small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest
from atlas.experiments.model_outputs import outputs_table
from atlas.experiments.silhouette_tables import silhouettes_table

from atlas.clusters.silhouettes import silhouettes
from atlas.errors import AtlasError
from atlas.experiments.additive import additive_table
from atlas.experiments.published import published_figures
from atlas.experiments.retrieval import look_up, retrieval_table
from atlas.files import read_csv, write_csv, write_jsonl
from atlas.spaces.embeddings import Embeddings, cosine, write_embeddings

POOLS = [["one", 1, "one"], ["two", 1, "two"]]


@pytest.fixture
def places(tmp_path):
    figure = [tmp_path / "f.svg", tmp_path / "f.png"]
    return {"table": tmp_path / "t.csv", "page": tmp_path / "t.md", "figure": figure}


@pytest.fixture
def published(tmp_path):
    file = tmp_path / "published.csv"
    write_csv(file, ("table", "setting", "quantity", "published"), [
        {"table": "additive", "setting": "math+coding", "quantity": "cosine_first", "published": 0.7},
        {"table": "additive", "setting": "math+coding", "quantity": "cosine_second", "published": 0.2},
        {"table": "robust", "setting": "same", "quantity": "delta_activations", "published": 0.6},
        {"table": "few", "setting": "gemma", "quantity": "accuracy", "published": 1.0},
    ])  # fmt: skip
    return file


def store(folder, names, domains, rows, bases=None, space="delta_activations"):
    file = folder / space / "embeddings.npz"
    file.parent.mkdir(parents=True)
    rows = np.array(rows, dtype=np.float32)
    write_embeddings(file, Embeddings(space, names, domains, bases or ["b"] * len(names),
                                      rows.shape[1], embeddings=rows))  # fmt: skip
    return file


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


def test_queries_are_looked_up_among_the_models_of_their_base(tmp_path, places, published):
    pool = store(tmp_path / "p", ["a1", "a2", "b1", "far"], ["a", "a", "b", "b"],
                 [[1, 0], [1, 0.2], [0, 1], [1, 1]], ["b", "b", "b", "other"])  # fmt: skip
    queries = store(tmp_path / "q", ["qa", "qb"], ["a", "b"], [[2, 0.1], [1, 0.9]])
    retrieval_table(pools=[pool], queries=[queries], names=[["p", 1, "p"]],
                    settings={"p": "gemma"}, published=published,
                    name="few", **places)  # fmt: skip
    one, two, accuracy = read_csv(places["table"])
    assert (one["query"], one["rank"], one["nearest"], one["candidates"]) == ("qa", "1", "a1", "3")
    # cos of (1, .9) with (0, 1) is .669, with (1, .2) .860, with (1, 0) .743: b1 comes third.
    assert (two["rank"], two["nearest"], two["nearest_domain"]) == ("3", "a2", "a")
    assert float(two["similarity"]) == pytest.approx(1.18 / (1.81 * 1.04) ** 0.5)
    assert (accuracy["query"], accuracy["accuracy"], accuracy["published"]) == (
        "accuracy",
        "0.5",
        "1.0",
    )


def test_a_query_without_anything_to_find(tmp_path):
    pool = Embeddings("s", ["m"], ["a"], ["b"], 1, embeddings=np.ones((1, 1)))
    query = Embeddings("s", ["q"], ["z"], ["b"], 1, embeddings=np.ones((1, 1)))
    with pytest.raises(AtlasError, match="no model of b in the domain 'z'"):
        look_up(pool, query)


def test_silhouettes_of_several_pools(tmp_path, places, published):
    rows = [[1, 0], [1, 0.1], [0, 1], [0.1, 1]]
    one = store(tmp_path / "one", list("abcd"), ["x", "x", "y", "y"], rows)
    two = store(tmp_path / "two", list("abcd"), ["x", "y", "x", "y"], rows, ["k", "k", "l", "l"])
    files = []
    for file in (one, two):
        silhouette = file.parent.parent / "silhouette.csv"
        silhouettes(embeddings=[file], silhouette=silhouette)
        files.append(silhouette)
    silhouettes_table(silhouettes=files, pools=POOLS, spaces=[],
                      settings={"one": "same"}, published=published, perplexities=[],
                      name="robust", **places)  # fmt: skip
    found = {(r["pool"], r["label"], r["distance"]): r for r in read_csv(places["table"])}
    assert len(found) == 6
    assert found["one", "domain", "cosine_clipped"]["published"] == "0.6"
    assert found["one", "domain", "cosine"]["published"] == ""
    assert (
        found["two", "base", "cosine"]["silhouette"]
        == found["one", "domain", "cosine"]["silhouette"]
    )
    assert float(found["two", "domain", "cosine"]["silhouette"]) < 0
    for row in found.values():
        assert float(row["low"]) <= float(row["silhouette"]) <= float(row["high"])
        assert 0 < float(row["p_value"]) <= 1
    silhouettes_table(silhouettes=files, pools=POOLS, spaces=["delta_logits"], settings={},
                      perplexities=[], published=published, name="robust", **places)  # fmt: skip
    assert read_csv(places["table"]) == []
    continued = tmp_path / "perplexity.csv"
    continued.write_text("model,base,dataset,documents,perplexity,base_perplexity,change\n"
                         "read,tiny,law,20,9.0,12.0,-0.25\n")  # fmt: skip
    silhouettes_table(silhouettes=files, pools=POOLS, spaces=[], settings={}, name="robust",
                      perplexities=[continued], published=published, **places)  # fmt: skip
    page = places["page"].read_text()
    assert "of 20 held-out texts of law from 12.00 to 9.00 (-25%)" in page
    with pytest.raises(AtlasError, match="settings are: same"):
        silhouettes_table(silhouettes=files, pools=POOLS, spaces=[],
                          settings={"one": "other"}, published=published, perplexities=[],
                          name="robust", **places)  # fmt: skip


def test_outputs(tmp_path, places):
    shard = tmp_path / "p/shards/0000.sentences.jsonl"
    shard.parent.mkdir(parents=True)
    write_jsonl(shard, [
        {"model": "m", "probe": 0, "text": "one\n# two"}, {"model": "m", "probe": 1, "text": ""},
    ])  # fmt: skip
    models = [{"pool": "p", "name": "m", "base": "b", "domain": "d"}]
    outputs_table(sentences=[shard], models=models, table=places["table"], page=places["page"])
    found = read_csv(places["table"])
    assert [(r["probe"], r["text"]) for r in found] == [("1", "one\n# two"), ("2", "")]
    assert "    # two" in places["page"].read_text()
    with pytest.raises(AtlasError, match="n: no output"):
        outputs_table(sentences=[shard], models=[{**models[0], "name": "n"}], table=places["table"],
                      page=places["page"])  # fmt: skip


def test_published_figures_are_those_of_one_table(published):
    assert published_figures(published, "few") == {("gemma", "accuracy"): 1.0}


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
