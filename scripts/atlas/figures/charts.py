"""Figures of experiments: groups of bars, and figures with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from atlas.figures.pools import HATCHES, STYLE, plt, save

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")


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
    with plt.rc_context(STYLE):
        height = max(2.4, 1.2 + 0.22 * len(groups) * (len(labels) + 0.6))
        figure, axes = plt.subplots(figsize=(6.4, height), layout="constrained")
        step = len(labels) + 0.6
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
        axes.set_title(title, loc="left")
        if len(labels) > 1:
            figure.legend(loc="outside lower center", ncols=len(labels), frameon=False)
        save(figure, *places)


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
    with plt.rc_context(STYLE):
        height = max(2.0, 1.2 + 0.28 * len(values))
        figure, axes = plt.subplots(figsize=(6.4, height), layout="constrained")
        for i, (value, low, high, published) in enumerate(values.values()):
            axes.plot([low, high], [i, i], color=PALETTE[0], linewidth=2)
            axes.plot([value], [i], "o", color=PALETTE[0], markeredgecolor="black", markersize=6,
                      label=label if i == 0 else None)  # fmt: skip
            if published is not None:
                axes.plot([published], [i], "D", color=PALETTE[1], markeredgecolor="black",
                          markersize=6, label="published")  # fmt: skip
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_xlabel(axis)
        axes.set_title(title.replace("_", " "), loc="left")
        handles, names = axes.get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))
        if unique:
            figure.legend(unique.values(), unique.keys(), loc="outside lower center", frameon=False,
                          ncols=2)  # fmt: skip
        save(figure, *places)


def draw_curves(
    places: Sequence[Path],
    panels: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]],
    axis: str,
) -> None:
    """Curves side by side, one panel for each variable.

    :param places: where it goes, as SVG and as PNG.
    :param panels: name of the variable -> name of the curve -> points.
    """
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            1, len(panels), figsize=(3.6 * len(panels), 3.2), sharey=True, layout="constrained",
            squeeze=False,
        )  # fmt: skip
        for axes, (variable, curves) in zip(grid[0], panels.items(), strict=True):
            for k, (name, points) in enumerate(curves.items()):
                axes.plot(
                    [x for x, _ in points], [y for _, y in points], "os^D"[k % 4] + "-",
                    color=PALETTE[k % len(PALETTE)], markersize=4, label=name,
                )  # fmt: skip
            axes.set_xlabel(variable)
            axes.xaxis.get_major_locator().set_params(integer=True)
        grid[0][0].set_ylabel(axis)
        if any(len(curves) > 1 for curves in panels.values()):
            grid[0][-1].legend(frameon=False)
        save(figure, *places)
