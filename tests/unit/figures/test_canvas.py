from __future__ import annotations

from itertools import combinations

import pytest
from matplotlib import pyplot as plt

from atlas.figures.canvas import COLUMN, PAGE, STYLE, frame, lay_out, plain_ticks
from atlas.figures.charts import draw_curves, draw_groups


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context(STYLE):
        yield
    plt.close("all")


@pytest.mark.parametrize("width", [COLUMN, PAGE])
@pytest.mark.parametrize("panels", [1, 2, 4])
def test_labels_stay_in_the_figure_and_off_one_another(width, panels):
    figure, row = frame(width, 1.5, "t", panels=panels, least=1.5)
    for axes in row:
        axes.set_yticks([0, 1], ["a model with a long name", "b"])
        axes.set_xlabel("a measure whose name is too long for one line of a panel\n(its unit)")
    before = figure.get_figheight()
    lay_out(figure)
    boxes = [axes.xaxis.label.get_window_extent() for axes in row]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 for box in boxes)
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert figure.get_figheight() > before or (width, panels) == (PAGE, 1)


def test_ticks_of_powers_are_figures():
    figure, (axes,) = frame(COLUMN, 2.0, "t")
    axes.loglog([1, 100], [1, 1e-4])
    plain_ticks(axes.xaxis, axes.yaxis)
    figure.draw_without_rendering()
    texts = {t.get_text() for t in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    assert {"1", "10", "100", "0.01"} <= texts
    assert not any("$" in text for text in texts)


@pytest.mark.parametrize(
    ("values", "written"),
    [([1.0, 3.0], {"1", "3"}), ([0.5, 0.25], {"0.50", "0.25"}), ([26.04, 30.1], {"26.0", "30.1"})],
)
def test_bars_have_as_many_digits_as_tell_them_apart(tmp_path, values, written):
    draw_groups(
        [tmp_path / "f.svg"], {"a": values[:1], "b": values[1:]}, ["x"], "axis", "t", about="so"
    )
    text = (tmp_path / "f.svg").read_text()
    assert all(f">{value}</text>" in text for value in written)
    assert ">so</text>" in text


def test_a_curve_with_intervals_has_a_band_that_is_explained(tmp_path):
    sure, bare = [(1, 0.5, 0.4, 0.6), (2, 0.7, 0.5, 0.8)], [(1, 0.5, None, None)]
    for name, points in (("sure", sure), ("bare", bare)):
        draw_curves([tmp_path / f"{name}.svg"], {"Layer": {"p": points}}, "axis", "t")
    texts = {name: (tmp_path / f"{name}.svg").read_text() for name in ("sure", "bare")}
    assert "FillBetweenPolyCollection" in texts["sure"]
    assert "Band: 95 %" in texts["sure"]
    assert "FillBetweenPolyCollection" not in texts["bare"]
    assert "Band" not in texts["bare"]
