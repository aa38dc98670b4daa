"""Figures of experiments: groups of bars, figures with their intervals, curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from atlas.figures.canvas import HATCHES, PAGE, PALETTE, frame, legend, plain_ticks, write

PUBLISHED = {"marker": "D", "color": PALETTE[1], "markeredgecolor": "black", "markersize": 5}
MARKERS = "os^Dv"


def draw_groups(
    places: Sequence[Path],
    groups: Mapping[str, Sequence[float]],
    labels: Sequence[str],
    axis: str,
    title: str,
    published: Mapping[str, Sequence[float | None]] | None = None,
    about: str = "",
) -> None:
    """Horizontal bars in groups.

    :param places: where it goes (:func:`atlas.figures.canvas.write`).
    :param groups: name -> one value per label.
    :param published: the figures that were published of them, which stand as diamonds.
    :param about: what else is to be known, below the title.
    """
    largest = max(value for group in groups.values() for value in group)
    whole = all(float(value).is_integer() for group in groups.values() for value in group)
    form = "%.0f" if whole or largest >= 100 else "%.1f" if largest >= 10 else "%.2f"

    def draw(width: float) -> Figure:
        step = len(labels) + 0.6
        figure, (axes,) = frame(width, max(1.3, 0.5 + 0.17 * len(groups) * step), title, about)
        for k, label in enumerate(labels):
            rows = [i * step + k for i in range(len(groups))]
            values = [group[k] for group in groups.values()]
            bars = axes.barh(rows, values, height=0.9, color=PALETTE[k % len(PALETTE)], label=label,
                             edgecolor="black", linewidth=0.5, hatch=HATCHES[k % len(HATCHES)])  # fmt: skip
            if width == PAGE:
                axes.bar_label(bars, fmt=form, padding=2)
            known = [(group[k], row) for group, row in zip((published or {}).values(), rows, strict=True)
                     if group[k] is not None] if published else []  # fmt: skip
            for value, row in known:
                axes.plot([value], [row], linestyle="none", label="published", **PUBLISHED)
        middle = [i * step + (len(labels) - 1) / 2 for i in range(len(groups))]
        axes.set_yticks(middle, list(groups))
        axes.set_ylim(len(groups) * step - 0.6, -1)
        if whole:
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_xlabel(axis)
        axes.margins(x=0.12)
        _legend(figure, [axes], width, least=2)
        return figure

    write(places, draw)


def draw_intervals(
    places: Sequence[Path],
    values: Mapping[str, tuple[float, float | None, float | None, float | None]],
    axis: str,
    title: str,
    label: str = "ours, 95 % interval over models",
) -> None:
    """Points with intervals, published figures as diamonds.

    :param places: where it goes (:func:`atlas.figures.canvas.write`).
    :param values: name -> value, low, high (None where there is no interval), published (or None).
    :param label: what the points are.
    """

    def draw(width: float) -> Figure:
        figure, (axes,) = frame(width, max(1.2, 0.5 + 0.18 * len(values)), title)
        for i, (value, low, high, published) in enumerate(values.values()):
            if low is not None and high is not None:
                axes.plot([low, high], [i, i], color=PALETTE[0], linewidth=2)
            axes.plot([value], [i], "o", color=PALETTE[0], label=label, markeredgecolor="black",
                      markersize=5)  # fmt: skip
            if published is not None:
                axes.plot([published], [i], linestyle="none", label="published", **PUBLISHED)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_xlabel(axis)
        _legend(figure, [axes], width)
        return figure

    write(places, draw)


def draw_sides(
    places: Sequence[Path],
    panels: Mapping[str, Mapping[str, Mapping[str, float]]],
    title: str,
) -> None:
    """A line per model, a dot where its value is, one panel for each measure.

    :param places: where it goes (:func:`atlas.figures.canvas.write`).
    :param panels: measure -> side of a comparison -> model -> value; a model that has none has no dot.
    """
    lines = list(dict.fromkeys(
        (name, model) for groups in panels.values() for name, of in groups.items() for model in of
    ))  # fmt: skip

    def draw(width: float) -> Figure:
        height = max(1.4, 0.6 + 0.17 * len(lines))
        figure, row = frame(width, height, title, panels=len(panels), least=1.7)
        for axes, (measure, groups) in zip(row, panels.items(), strict=True):
            for k, (name, of) in enumerate(groups.items()):
                axes.plot(list(of.values()), [lines.index((name, model)) for model in of],
                          MARKERS[k % len(MARKERS)], color=PALETTE[k % len(PALETTE)],
                          markeredgecolor="black", markersize=5, label=name)  # fmt: skip
            axes.set_xlabel(measure.replace(" (", "\n("))
            axes.axvline(0, color="black", linewidth=0.6)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            plain_ticks(axes.xaxis)
            axes.grid(axis="y", linewidth=0.3)
        row[0].set_yticks(range(len(lines)), [model for _, model in lines])
        row[0].set_ylim(len(lines) - 0.5, -0.5)
        _legend(figure, row, width)
        return figure

    write(places, draw)


def draw_curves(
    places: Sequence[Path],
    variables: Mapping[str, Mapping[str, Sequence[tuple[int, float, float | None, float | None]]]],
    axis: str,
    title: str,
) -> None:
    """Curves side by side, one panel for each variable.

    :param places: where it goes (:func:`atlas.figures.canvas.write`).
    :param variables: name of the variable -> name of the curve -> points: place, value, and the low
        and high end of its 95 % interval (None where it has none), which are drawn as a band.
    """
    about = "Band: 95 % interval over models."
    sure = any(
        p[2] is not None for curves in variables.values() for of in curves.values() for p in of
    )

    def draw(width: float) -> Figure:
        figure, row = frame(
            width, 2.0, title, about if sure else "", panels=len(variables), least=2.4
        )
        for axes, (variable, curves) in zip(row, variables.items(), strict=True):
            for k, (name, points) in enumerate(curves.items()):
                colour = PALETTE[k % len(PALETTE)]
                axes.plot([p[0] for p in points], [p[1] for p in points], MARKERS[k % len(MARKERS)] + "-",
                          markersize=4, label=name, color=colour)  # fmt: skip
                ends = [(x, low, high) for x, _, low, high in points if low is not None]
                if ends:
                    axes.fill_between(
                        *zip(*ends, strict=True), color=colour, alpha=0.2, linewidth=0
                    )
            axes.set(xlabel=variable, ylabel=axis)
            axes.label_outer(remove_inner_ticks=False)
            axes.xaxis.set_tick_params(labelbottom=True)
            axes.set_xlabel(variable)
            axes.xaxis.get_major_locator().set_params(integer=True)
        _legend(figure, row, width, least=2)
        return figure

    write(places, draw)


def _legend(figure: Figure, row: Sequence[Axes], width: float, least: int = 1) -> None:
    """A legend of what the panels show, each name once, where there are that many."""
    found = [axes.get_legend_handles_labels() for axes in row]
    unique: dict[str, Artist] = {}
    for handles, names in found:
        unique |= dict(zip(names, handles, strict=True))
    if "published" in unique:
        unique["published"] = unique.pop("published")  # last
    if len(unique) >= least:
        legend(figure, list(unique.values()), list(unique), width)
