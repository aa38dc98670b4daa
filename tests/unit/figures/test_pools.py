from __future__ import annotations

import re
from itertools import groupby, pairwise

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.metrics import silhouette_samples

from atlas.clusters.map_files import Map, fit
from atlas.clusters.maps import map_models, places_of
from atlas.clusters.silhouettes import model_silhouettes, silhouettes
from atlas.configuration.config import Figures
from atlas.figures import canvas
from atlas.figures.canvas import COLUMN, PAGE, frame, lay_out, write
from atlas.figures.heat_maps import by_cluster, heat_map, similarity_figure
from atlas.figures.pools import draw, map_figure, mean_interval, silhouette_figure
from atlas.figures.style import looks, short_names
from atlas.files import finished_stem, read_csv, staged
from atlas.spaces.embeddings import Embeddings, write_embeddings

STYLE = Figures()
DOMAINS = ["law", "law", "math", "math", "code", "code"]
LOOKS = looks(sorted(DOMAINS), STYLE.palette, STYLE.markers)


def pool(**more):
    rows = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    settings = {"dimension": 4, "embeddings": rows, **more}
    return Embeddings(
        "delta_activations", [f"m{i}" for i in range(6)], DOMAINS, ["t"] * 6, **settings
    )


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context(canvas.STYLE):
        yield
    plt.close("all")


OUTPUTS = (".svg", ".png", ".pdf", "_column.svg", "_column.pdf")


def drawn(folder, found):
    folder.mkdir()
    write_embeddings(folder / "e.npz", found)
    # As a job names files that are not finished.
    files = {kind: [staged(folder / f"{kind}{end}", "a") for end in OUTPUTS]
             for kind in ("mapped", "similarity", "silhouette")}  # fmt: skip
    map_models(embeddings=folder / "e.npz", points=folder / "map.csv")
    silhouettes(embeddings=[folder / "e.npz"], silhouette=folder / "silhouette.csv")
    draw(
        embeddings=folder / "e.npz",
        points=folder / "map.csv",
        silhouettes=folder / "silhouette.csv",
        pool="p",
        looks={domain: list(look) for domain, look in LOOKS.items()},
        **files,
    )
    return [file for some in files.values() for file in some]


def samples(found):
    return [] if found.reason else model_silhouettes(found)


def mapped(found):
    """The map of a pool as it is read from its file."""
    places, about = places_of(found)
    row = {k: "" if v is None else str(v) for k, v in about.items()}
    return Map(found.model_names, places, about["method"], fit(row))


def texts(figure):
    """All that is written in a figure, lines joined."""
    found = [t.get_text() for t in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    return " ".join(" ".join(found).split())


def inside(figure, width):
    """Whether all that is drawn is within the figure, which has the width that was asked for."""
    figure.draw_without_rendering()
    box, (right, top) = figure.get_tightbbox(), figure.get_size_inches()
    slack = 0.05  # inches: letters overhang their boxes
    return (
        right == width
        and min(box.x0, box.y0) > -slack
        and box.x1 < right + slack
        and box.y1 < top + slack
    )


@pytest.mark.parametrize(
    "found", [pool(), pool(embeddings=None, dimension=0, reason="other ranks")]
)
def test_the_same_bytes_each_time_and_text_is_text(tmp_path, found):
    one, other = drawn(tmp_path / "a", found), drawn(tmp_path / "b", found)
    for a, b in zip(one, other, strict=True):
        assert a.read_bytes() == b.read_bytes()
        assert a.stat().st_size > 1000
    for file in one:
        if file.suffix == ".svg":
            text = file.read_text()
            assert "<dc:date>" not in text
            # Inches of a column and of a page, in points.
            assert f'width="{(COLUMN if "_column" in file.name else PAGE) * 72:g}pt"' in text
            assert "delta activations" in " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", text))
        if file.suffix == ".pdf":
            # TrueType fonts, which publishers take; and no date.
            assert b"/FontFile2" in file.read_bytes()
            assert b"CreationDate" not in file.read_bytes()


@pytest.mark.parametrize("name", ["map_column.svg", "a" * 160 + "_column.svg", "map.svg"])
def test_a_file_that_is_not_finished_has_the_width_of_the_finished(tmp_path, name):
    place = staged(tmp_path / name, "a")
    assert finished_stem(place)[-7:] == name.removesuffix(".svg")[-7:]
    write([place], lambda width: frame(width, 1, "Title")[0])
    wide = COLUMN if name.endswith("_column.svg") else PAGE
    assert f'width="{wide * 72:g}pt"' in place.read_text()


def test_no_ligature_is_a_font_of_its_own(tmp_path):
    write([tmp_path / "a.pdf"], lambda width: frame(width, 1, "First figure of finance")[0])
    assert (tmp_path / "a.pdf").read_bytes().count(b"/FontFile2 ") == 1


def test_colour_and_marker_tell_domains_apart():
    look = looks(["b", "a", "b"], ["#1", "#2"], ["o", "s"])
    assert look == {"b": ("#1", "o"), "a": ("#2", "s")}
    many = looks([f"d{i:02}" for i in range(30)], STYLE.palette, STYLE.markers)
    assert len(set(many.values())) == 30


def test_names_lose_what_all_of_them_begin_with():
    assert short_names(["smollm2-gsm8k-first", "smollm2-gsm8k-third"]) == ["first", "third"]
    assert short_names(["smollm2-a", "smollm2-ab", "smollm3"]) == [
        "smollm2-a",
        "smollm2-ab",
        "smollm3",
    ]
    assert short_names(["x-y"]) == ["x-y"]
    assert short_names(["x-", "x-y"]) == ["x-", "y"]


def test_the_map_shows_every_model_by_domain():
    look, there = LOOKS, mapped(pool())
    figure = map_figure(pool(), there, "t", look, PAGE)
    axes = figure.axes[0]
    drawn_at = np.concatenate([c.get_offsets() for c in axes.collections])
    np.testing.assert_array_equal(drawn_at, there.places[[4, 5, 0, 1, 2, 3]])
    assert [len(c.get_offsets()) for c in axes.collections] == [2, 2, 2]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["code", "law", "math"]
    assert there.fit in texts(figure)


def test_a_bar_says_how_long_a_cosine_distance_is():
    found, look = pool(), LOOKS
    axes = map_figure(found, mapped(found), "t", look, PAGE).axes[0]
    (bar,) = axes.lines
    left, right = bar.get_xdata()
    assert f"cosine distance {right - left:.3g}" in [t.get_text() for t in axes.texts]
    assert axes.get_aspect() == 1


def many_domains(n):
    rows = np.random.default_rng(1).normal(size=(2 * n, 8)).astype(np.float32)
    domains = [f"domain number {i % n}" for i in range(2 * n)]
    return Embeddings("delta_activations", [f"m{i}" for i in range(2 * n)], domains, ["t"] * 2 * n,
                      dimension=8, embeddings=rows)  # fmt: skip


@pytest.mark.parametrize(("count", "width"), [(25, PAGE), (80, COLUMN)])
def test_many_domains_leave_room_for_what_is_shown(count, width):
    found = many_domains(count)
    look = looks(found.domains, STYLE.palette, STYLE.markers)
    places = np.random.default_rng(2).normal(size=(2 * count, 2))
    there = Map(found.model_names, places, "t-SNE of cosine distances", "Near points are similar.")
    figure = map_figure(found, there, "t", look, width)
    assert inside(figure, width)
    box = figure.axes[0].get_window_extent()
    # What was drawn before the legend had its place does not make the map small.
    lay_out(figure)
    figure.draw_without_rendering()
    span = np.ptp(places, axis=0) / np.ptp(
        [figure.axes[0].get_xlim(), figure.axes[0].get_ylim()], axis=1
    )
    assert max(span) > 0.8
    assert {handle.get_markersize() for handle in figure.legends[0].legend_handles} == {6}
    # Before, the legend left the map a strip.
    assert box.width > 0.8 * figure.bbox.width
    assert box.height > 0.4 * box.width
    assert len(figure.legends[0].get_texts()) == min(count, 60)
    assert ("more domains are not named" in texts(figure)) == (count == 80)
    for other in (similarity_figure(found, heat_map(found), "t", look, width),
                  silhouette_figure(found, samples(found), "t", look, width)):  # fmt: skip
        assert inside(other, width)
        assert other.get_size_inches()[1] < 11


def test_the_heat_map_is_ordered_by_cluster_and_names_domains():
    found = pool()
    look = LOOKS
    axes = similarity_figure(found, heat_map(found), "t", look, PAGE).axes[0]
    order = [found.model_names.index(t.get_text()) for t in axes.get_yticklabels()]
    expected = found.cosine_similarity()[np.ix_(order, order)]
    np.fill_diagonal(expected, np.nan)
    (image,) = axes.images
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), expected)
    assert image.get_clim() == (-1, 1)
    names = [t.get_text() for t in axes.get_xticklabels()]
    assert set(names) == set(DOMAINS)
    assert len(names) == 1 + sum(DOMAINS[a] != DOMAINS[b] for a, b in pairwise(order))


def test_similar_models_stand_together():
    rows = np.random.default_rng(3).normal(size=(3, 9))[np.arange(12) % 3]
    rows = rows + 0.01 * np.random.default_rng(4).normal(size=rows.shape)
    found = Embeddings(
        "s", [f"m{i}" for i in range(12)], ["a"] * 12, ["t"] * 12, 9, embeddings=rows
    )
    groups = [i % 3 for i in by_cluster(found.cosine_similarity())]
    assert [len(list(run)) for _, run in groupby(groups)] == [4, 4, 4]


def test_the_silhouette_plot_shows_the_samples():
    look = LOOKS
    figure = silhouette_figure(pool(), samples(pool()), "t", look, PAGE, (-0.1, 0.2))
    axes = figure.axes[0]
    rows = pool().embeddings.astype(np.float64)
    expected = silhouette_samples(rows, DOMAINS, metric="cosine")
    *bars, band = axes.patches
    np.testing.assert_allclose(sorted(b.get_width() for b in bars), sorted(expected), atol=1e-9)
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((-0.1, 0.2))
    assert f"the mean, {expected.mean():.2f}" in texts(figure)
    assert "95 % interval over models, -0.10 to 0.20" in texts(figure)


def test_the_interval_is_that_of_the_table(tmp_path):
    write_embeddings(tmp_path / "e.npz", pool())
    silhouettes(embeddings=[tmp_path / "e.npz"], silhouette=tmp_path / "s.csv")
    row = next(r for r in read_csv(tmp_path / "s.csv") if r["distance"] == "cosine")
    assert mean_interval(tmp_path / "s.csv", "delta_activations") == (
        float(row["low"]),
        float(row["high"]),
    )
    assert mean_interval(tmp_path / "s.csv", "another") is None


def test_a_figure_with_nothing_to_see_says_why():
    rows = np.eye(6, dtype=np.float32) + 1e-4
    found = pool(embeddings=rows, dimension=6)
    look = LOOKS
    assert "hardly closer to their own domain" in texts(
        silhouette_figure(found, samples(found), "t", look, COLUMN)
    )
    faint = similarity_figure(found, heat_map(found), "t", look, COLUMN)
    assert "models hardly resemble each other" in texts(faint)


def test_a_space_without_embeddings_says_why():
    found = pool(embeddings=None, dimension=0, reason="other ranks")
    look = LOOKS
    nowhere = Map([], np.empty((0, 2)), "", "")
    for figure in (
        map_figure(found, nowhere, "t", look, PAGE),
        similarity_figure(found, heat_map(found), "t", look, PAGE),
        silhouette_figure(found, samples(found), "t", look, PAGE),
    ):
        assert [t.get_text() for t in figure.axes[0].texts] == ["No figure: other ranks."]
