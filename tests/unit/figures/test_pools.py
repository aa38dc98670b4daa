from __future__ import annotations

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.metrics import silhouette_samples

from atlas.clusters.maps import map_models, places_of
from atlas.configuration.config import Figures
from atlas.figures.pools import draw, silhouette_figure, similarity_figure, tsne_figure
from atlas.figures.style import looks
from atlas.spaces.embeddings import Embeddings, write_embeddings

STYLE = Figures()
DOMAINS = ["law", "law", "math", "math", "code", "code"]


def pool(**more):
    rows = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    settings = {"dimension": 4, "embeddings": rows, **more}
    return Embeddings(
        "delta_activations", [f"m{i}" for i in range(6)], DOMAINS, ["t"] * 6, **settings
    )


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def drawn(folder, found):
    folder.mkdir()
    write_embeddings(folder / "e.npz", found)
    files = {kind: [folder / f"{kind}.{s}" for s in ("svg", "png")]
             for kind in ("tsne", "similarity", "silhouette")}  # fmt: skip
    map_models(embeddings=folder / "e.npz", points=folder / "map.csv")
    draw(
        embeddings=folder / "e.npz",
        points=folder / "map.csv",
        pool="p",
        palette=STYLE.palette,
        markers=STYLE.markers,
        **files,
    )
    return [file for pair in files.values() for file in pair]


@pytest.mark.parametrize(
    "found", [pool(), pool(embeddings=None, dimension=0, reason="other ranks")]
)
def test_the_same_bytes_each_time(tmp_path, found):
    one, other = drawn(tmp_path / "a", found), drawn(tmp_path / "b", found)
    for a, b in zip(one, other, strict=True):
        assert a.read_bytes() == b.read_bytes()
        assert a.stat().st_size > 1000
    for file in one[::2]:
        assert "<dc:date>" not in file.read_text()


def test_colour_and_marker_tell_domains_apart():
    look = looks(["b", "a", "b"], ["#1", "#2"], ["o", "s"])
    assert look == {"a": ("#1", "o"), "b": ("#2", "s")}
    many = looks([f"d{i:02}" for i in range(30)], STYLE.palette, STYLE.markers)
    assert len(set(many.values())) == 30


def test_the_map_shows_every_model_by_domain():
    look = looks(DOMAINS, STYLE.palette, STYLE.markers)
    points, _ = places_of(pool())
    axes = tsne_figure(pool(), points, "t", look).axes[0]
    drawn_at = np.concatenate([c.get_offsets() for c in axes.collections])
    np.testing.assert_array_equal(drawn_at, points[[4, 5, 0, 1, 2, 3]])
    assert [len(c.get_offsets()) for c in axes.collections] == [2, 2, 2]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["code", "law", "math"]


def test_the_heat_map_is_ordered_by_domain():
    axes = similarity_figure(pool(), "t").axes[0]
    names = [t.get_text() for t in axes.get_yticklabels()]
    assert names == ["m4", "m5", "m0", "m1", "m2", "m3"]
    order = [4, 5, 0, 1, 2, 3]
    expected = pool().cosine_similarity()[np.ix_(order, order)]
    np.testing.assert_array_equal(axes.images[0].get_array(), expected)


def test_the_silhouette_plot_shows_the_samples():
    look = looks(DOMAINS, STYLE.palette, STYLE.markers)
    axes = silhouette_figure(pool(), "t", look).axes[0]
    rows = pool().embeddings.astype(np.float64)
    expected = silhouette_samples(rows, DOMAINS, metric="cosine")
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(sorted(widths), sorted(expected), atol=1e-9)
    assert f"mean {expected.mean():.2f}" in [t.get_text() for t in axes.texts]


def test_a_space_without_embeddings_says_why():
    found = pool(embeddings=None, dimension=0, reason="other ranks")
    look = looks(DOMAINS, STYLE.palette, STYLE.markers)
    for figure in (tsne_figure(found, np.empty((0, 2)), "t", look), similarity_figure(found, "t"),
                   silhouette_figure(found, "t", look)):  # fmt: skip
        assert [t.get_text() for t in figure.axes[0].texts] == ["No figure: other ranks."]
