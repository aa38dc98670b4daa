from __future__ import annotations

import base64
import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.clusters.map_files import read_map
from atlas.errors import AtlasError
from atlas.files import read_csv, write_csv
from atlas.navigator.blocks import NONE, STEP, space_block
from atlas.navigator.cards import HOLE, NAME, compact
from unit.navigator.navigator_pools import BASES, SPACES, described, real_pool, write

TEXTS = st.lists(st.text(st.characters(exclude_characters=NAME), max_size=60), max_size=6)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return real_pool(tmp_path_factory.mktemp("pool"), 15, 5)


@pytest.fixture(scope="module")
def page(pool, tmp_path_factory):
    return write(pool, tmp_path_factory.mktemp("page") / "navigator.html").read_text()


def block(page: str, name: str) -> bytes:
    found = re.search(rf'<script type="application/octet-stream" id="{name}">([^<]*)<', page)
    return gzip.decompress(base64.b64decode(found[1]))


def space(page: str, name: str):
    """A block as its description says: places, silhouettes, neighbours, similarities."""
    data, n, ranks = block(page, f"space-{name}"), 15, 10
    assert len(data) == (6 + 4 * ranks) * n
    at = 0

    def take(kind: str, *shape: int):
        nonlocal at
        length = int(np.prod(shape))
        planes = np.frombuffer(data, "u1", 2 * length, at).reshape(2, length)
        at += 2 * length
        return np.ascontiguousarray(planes.T).view(kind).reshape(shape)

    places, scores = take("<u2", 2, n).T, take("<i2", n) / STEP
    near = (take("<u2", n, ranks) + np.arange(n, dtype="<u2")[:, None]).astype("<u2")
    less = take("<i2", n, ranks)
    return places, scores, near, np.concatenate([less[:, :1], -less[:, 1:]], 1).cumsum(1) / STEP


def expand(name, templates, card) -> str:
    """The text of one card, as the page puts it together."""
    own = iter(card[1:])
    lines = (next(own) if line is HOLE else line for line in templates[card[0]])
    return "\n".join(lines).replace(NAME, name)


def test_neighbours_are_those_of_the_table(pool, page):
    names = json.loads(block(page, "models"))["names"]
    assert names == [m["name"] for m in pool["models"]]
    for name in SPACES:
        _, scores, near, similarity = space(page, name)
        rows = [r for r in read_csv(pool["neighbours"]) if r["space"] == name]
        assert [names[j] for j in near.ravel()] == [r["neighbour"] for r in rows]
        np.testing.assert_allclose(similarity.ravel(), [float(r["similarity"]) for r in rows],
                                   atol=0.51 / STEP)  # fmt: skip
        expected = [float(r["silhouette"]) for r in rows[::10]]
        np.testing.assert_allclose(scores, expected, atol=0.51 / STEP)


def test_places_are_those_of_the_figures(pool, page):
    for name, file in zip(SPACES, pool["maps"], strict=True):
        places, *_ = space(page, name)
        _, expected, method, fit = read_map(file)
        span = (expected.max(axis=0) - expected.min(axis=0)).max()
        apart = expected[:, None] - expected[None]
        shown = (places[:, None].astype(float) - places[None]) / 65535 * span
        np.testing.assert_allclose(shown, apart, atol=span / 65535 * 1.01)
        (about,) = [s for s in json.loads(block(page, "models"))["spaces"] if s["space"] == name]
        assert about["method"] == method != ""
        assert about["fit"] == fit != ""
        assert (about["map"], about["ranks"], about["dimension"]) == (True, 10, 24)


def test_what_models_are(pool, page):
    found = json.loads(block(page, "models"))
    for key in ("domain", "base", "recipe"):
        labels = found[key]["labels"]
        assert [labels[k] for k in found[key]["of"]] == [m[key] for m in pool["models"]]
    assert found["looks"]["coding"] == ["#0072B2", "circle"]
    scores = {r["space"]: float(r["silhouette"]) for r in read_csv(pool["silhouette"])
              if r["distance"] == "cosine" and r["label"] == "domain"}  # fmt: skip
    assert {s["space"]: s["silhouette"] for s in found["spaces"]} == scores


def test_each_card_is_inside_as_it_stands(pool, page):
    behind = json.loads(block(page, "cards")) | json.loads(block(page, "cards-0"))
    for i, (model, card) in enumerate(zip(pool["models"], pool["cards"], strict=True)):
        text = expand(model["name"], behind["templates"], behind["cards"][i])
        assert text == card.read_text()
        assert behind["models"][i]["seed"] == model["seed"]
        assert behind["models"][i]["data"] == model["data"]
    assert set(behind["datasets"]) == {f"{m['domain']}-rows" for m in pool["models"]}
    assert behind["bases"][BASES[0]]["weights_sha256"] == "ab" * 32
    # Two bases and five datasets: few templates, and of each card only its own lines.
    assert len(behind["templates"]) <= 10
    assert max(len(card) for card in behind["cards"]) <= 8


def test_a_pool_that_is_not_kept_has_a_report_in_place_of_cards(pool, tmp_path):
    rows = [{"model": m["name"], "source": f"org/{m['name']}", "sha256": "5f", "bytes": 7}
            for m in pool["models"]]  # fmt: skip
    write_csv(tmp_path / "report.csv", ("model", "source", "sha256", "bytes"), rows)
    page = write({**pool, "cards": [], "report": [tmp_path / "report.csv"]}, tmp_path / "n.html")
    behind = {
        **json.loads(block(page.read_text(), "cards")),
        **json.loads(block(page.read_text(), "cards-0")),
    }
    name = pool["models"][3]["name"]
    text = expand(name, behind["templates"], behind["cards"][3])
    assert f"Fetched from org/{name}, embedded and not kept. SHA-256 of its weights: 5f (7" in text


@given(
    st.lists(st.tuples(st.sampled_from(["a", "m-1", "é", "\\1"]), TEXTS), min_size=1, max_size=5)
)
def test_cards_come_back_whole(cards):
    names = [name for name, _ in cards]
    texts = ["\n".join([f"# {name}", *lines]) for name, lines in cards]
    found = compact(names, texts)
    for name, text, card in zip(names, texts, found["cards"], strict=True):
        assert expand(name, found["templates"], card) == text


def test_a_block_by_hand():
    places = np.array([[0.0, 0.0], [2.0, 1.0]])
    ranked = {"silhouettes": [0.5, None], "nearest": [[(1, -0.25)], [(0, -0.25)]]}
    text, layout = space_block(places, ranked)
    planes = np.frombuffer(gzip.decompress(base64.b64decode(text)), "u1")
    data = [planes[a:b].reshape(2, -1).T.copy() for a, b in ((0, 8), (8, 12), (12, 16), (16, 20))]
    assert data[0].view("<u2").ravel().tolist() == [0, 65535, 16384, 49151]
    assert data[1].view("<i2").ravel().tolist() == [5000, NONE]
    assert data[2].view("<u2").ravel().tolist() == [1, 65535]  # the way to each neighbour, modulo
    assert data[3].view("<i2").ravel().tolist() == [-2500, -2500]
    assert layout == {"map": True, "ranks": 1, "all": False}
    assert space_block(None, None)[1] == {"map": False, "ranks": 0, "all": False}
    text, layout = space_block(
        None, None, np.array([[1, 0.5, -0.25], [0.5, 1, 0.75], [-0.25, 0.75, 1]])
    )
    planes = np.frombuffer(gzip.decompress(base64.b64decode(text)), "u1")
    assert planes.reshape(2, -1).T.copy().view("<i2").ravel().tolist() == [5000, -2500, 7500]
    assert layout["all"]


def test_a_large_pool_has_its_five_nearest_only(monkeypatch):
    monkeypatch.setattr("atlas.navigator.blocks.SMALL", 6)
    nearest = [[(j, 0.5 - 0.01 * j) for j in range(7) if j != i] for i in range(7)]
    ranked = {"silhouettes": [0.0] * 7, "nearest": nearest}
    text, layout = space_block(None, ranked)
    assert layout == {"map": False, "ranks": 5, "all": False}
    data = np.frombuffer(gzip.decompress(base64.b64decode(text)), "u1")
    assert len(data) == 7 * (2 + 5 * 4 + 5 * 2)
    ways = data[14 : 14 + 140].reshape(4, 35).T.copy().view("<u4").reshape(7, 5)
    found = (ways + np.arange(7, dtype="<u4")[:, None]).astype("<u4")
    assert found.tolist() == [[j for j, _ in row[:5]] for row in nearest]


def test_the_same_bytes_each_time(pool, page, tmp_path):
    again = write(pool, tmp_path / "again.html")
    assert again.read_text() == page
    assert str(pool["neighbours"].parent) not in page


def test_nothing_is_fetched(page):
    markup = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"https?:|//", markup)
    assert "default-src 'none'" in markup
    assert not re.search(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=\"(?!data:)", page)


def test_names_and_cards_cannot_leave_their_place(tmp_path):
    evil = "</script><script>alert(1)</script>"
    models = described(6, 2)
    for model in models:
        model["domain"] += evil
        model["recipe"] = evil
        model["data"][0]["dataset"] = evil
    pool = real_pool(tmp_path, 6, 2, models)
    for card in pool["cards"]:
        card.write_text(card.read_text() + f"\n{evil}\n<img src=x onerror=alert(2)>\n")
    text = write({**pool, "pool": evil}, tmp_path / "navigator.html").read_text()
    assert "<script>alert" not in text
    assert "onerror=alert" not in text
    assert "&lt;/script&gt;" in text
    assert evil in block(text, "cards-0").decode()


def test_a_space_without_embeddings_has_its_reason(tmp_path):
    pool = real_pool(tmp_path, 6, 2, empty=["flattened_weights"])
    text = write(pool, tmp_path / "navigator.html").read_text()
    first = json.loads(block(text, "models"))["spaces"][0]
    assert (first["map"], first["ranks"], first["silhouette"]) == (False, 0, None)
    assert first["reason"] == "the models are of mixed kinds"
    assert block(text, "space-flattened_weights") == b""


def test_huge_vectors_are_not_read_for_all_similarities(tmp_path, monkeypatch):
    pool = real_pool(tmp_path, 6, 2, empty=["flattened_weights"])
    pool["embeddings"] = [file.with_name("embeddings.npz") for file in pool["maps"]]

    def told():
        text = write(pool, tmp_path / "navigator.html").read_text()
        return [space["all"] for space in json.loads(block(text, "models"))["spaces"]]

    assert told() == [False, *[True] * (len(pool["spaces"]) - 1)]
    monkeypatch.setattr("atlas.navigator.page.HUGE", 10)
    assert not any(told())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"looks": {"law": ["#123456", "$x$"]}}, r"figures.markers: '\$x\$' has no counterpart"),
        ({"models": "fewer"}, "map.csv: its models are not those of the pool|not in the pool"),
    ],
)
def test_what_does_not_fit_is_refused(pool, tmp_path, change, sentence):
    if change.get("models"):
        change = {"models": pool["models"][1:]}
    with pytest.raises(AtlasError, match=sentence):
        write({**pool, **change}, tmp_path / "navigator.html")
