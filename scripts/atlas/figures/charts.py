"""Figures of experiments: groups of bars, figures with their intervals, curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from atlas.figures.canvas import HATCHES, PALETTE, chart


def draw_groups(
    places: Sequence[Path],
    groups: Mapping[str, Sequence[float]],
    labels: Sequence[str],
    axis: str,
    title: str,
) -> None:
    """Horizontal bars in groups.

    :param places: where it goes, as SVG and as PNG.
    :param groups: name -> one value per label.
    """
    step = len(labels) + 0.6
    height = max(2.4, 1.2 + 0.22 * len(groups) * step)
    with chart(places, (6.4, height), title) as (figure, (axes,)):
        for k, label in enumerate(labels):
            rows = [i * step + k for i in range(len(groups))]
            values = [group[k] for group in groups.values()]
            bars = axes.barh(rows, values, height=0.9, color=PALETTE[k % len(PALETTE)], label=label,
                             edgecolor="black", linewidth=0.5, hatch=HATCHES[k % len(HATCHES)])  # fmt: skip
            axes.bar_label(bars, fmt="%.2f" if max(values) < 10 else "%.0f", fontsize=7, padding=2)
        middle = [i * step + (len(labels) - 1) / 2 for i in range(len(groups))]
        axes.set_yticks(middle, list(groups))
        axes.invert_yaxis()
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_xlabel(axis)
        axes.margins(x=0.1)
        if len(labels) > 1:
            figure.legend(loc="outside lower center", ncols=len(labels), frameon=False)


def draw_intervals(
    places: Sequence[Path],
    values: Mapping[str, tuple[float, float, float, float | None]],
    axis: str,
    title: str,
    label: str = "ours, 95 % interval over models",
) -> None:
    """Points with intervals, published figures as diamonds.

    :param places: where it goes, as SVG and as PNG.
    :param values: name -> value, low, high, published (or None).
    :param label: what the points are.
    """
    height = max(2.0, 1.2 + 0.28 * len(values))
    with chart(places, (6.4, height), title.replace("_", " ")) as (figure, (axes,)):
        point = {"markeredgecolor": "black", "markersize": 6}
        for i, (value, low, high, published) in enumerate(values.values()):
            axes.plot([low, high], [i, i], color=PALETTE[0], linewidth=2)
            axes.plot([value], [i], "o", color=PALETTE[0], label=label, **point)
            if published is not None:
                axes.plot([published], [i], "D", color=PALETTE[1], label="published", **point)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_xlabel(axis)
        handles, names = axes.get_legend_handles_labels()
        if unique := dict(zip(names, handles, strict=True)):
            figure.legend(unique.values(), unique.keys(), loc="outside lower center", frameon=False,
                          ncols=2)  # fmt: skip


def draw_sides(
    places: Sequence[Path],
    panels: Mapping[str, Mapping[str, Mapping[str, float]]],
    title: str,
) -> None:
    """A line per model, a dot where its value is, one panel for each measure.

    :param places: where it goes, as SVG and as PNG.
    :param panels: measure -> side of a comparison -> model -> value; a model that has none has no dot.
    """
    lines = list(dict.fromkeys(
        (name, model) for groups in panels.values() for name, of in groups.items() for model in of
    ))  # fmt: skip
    size = (2.2 * len(panels) + 1.6, max(2.4, 1.4 + 0.3 * len(lines)))
    with chart(places, size, panels=len(panels)) as (figure, row):
        for axes, (measure, groups) in zip(row, panels.items(), strict=True):
            for k, (name, of) in enumerate(groups.items()):
                axes.plot(list(of.values()), [lines.index((name, model)) for model in of],
                          "os^D"[k % 4], color=PALETTE[k % len(PALETTE)], markeredgecolor="black",
                          markersize=6, label=name)  # fmt: skip
            axes.set_title(measure, fontsize=7)
            axes.axvline(0, color="black", linewidth=0.6)
            axes.tick_params(axis="x", labelsize=7)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.grid(axis="y", linewidth=0.3)
        row[0].set_yticks(range(len(lines)), [model for _, model in lines])
        row[0].set_ylim(len(lines) - 0.5, -0.5)
        figure.suptitle(title.replace("_", " "), x=0.01, ha="left")
        figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center",
                      frameon=False, ncols=4)  # fmt: skip


def draw_curves(
    places: Sequence[Path],
    variables: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]],
    axis: str,
) -> None:
    """Curves side by side, one panel for each variable.

    :param places: where it goes, as SVG and as PNG.
    :param variables: name of the variable -> name of the curve -> points.
    """
    count = len(variables)
    with chart(places, (3.6 * count, 3.2), panels=count) as (_, row):
        for axes, (variable, curves) in zip(row, variables.items(), strict=True):
            for k, (name, points) in enumerate(curves.items()):
                axes.plot(*zip(*points, strict=True), "os^D"[k % 4] + "-", markersize=4, label=name,
                          color=PALETTE[k % len(PALETTE)])  # fmt: skip
            axes.set_xlabel(variable)
            axes.xaxis.get_major_locator().set_params(integer=True)
        row[0].set_ylabel(axis)
        if any(len(curves) > 1 for curves in variables.values()):
            row[-1].legend(frameon=False)
