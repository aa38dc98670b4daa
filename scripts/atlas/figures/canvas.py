"""What all figures are drawn on: the same bytes each time, one style, SVG and PNG."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE = {
    "svg.hashsalt": "delta-atlas",
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "***")


def save(figure: Figure, svg: Path, png: Path) -> None:
    """Write a figure without time stamps or versions."""
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", metadata={"Software": None})
    plt.close(figure)


@contextmanager
def chart(
    places: Sequence[Path], size: tuple[float, float], title: str | None = None, panels: int = 1
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of panels side by side, with one vertical axis; written when the block ends.

    :param places: where it goes, as SVG and as PNG.
    :param size: width and height in inches.
    """
    with plt.rc_context(STYLE):
        figure, (row,) = plt.subplots(
            1, panels, figsize=size, sharey=True, layout="constrained", squeeze=False
        )
        if title is not None:
            row[0].set_title(title, loc="left")
        yield figure, list(row)
        save(figure, *places)


def note(title: str, reason: str) -> Figure:
    """A figure that says why there is nothing to see."""
    figure, axes = plt.subplots(figsize=(5.6, 1.8), layout="constrained")
    axes.set_axis_off()
    axes.set_title(title, loc="left")
    text = textwrap.fill(f"No figure: {reason}.", 70)
    axes.text(0, 0.6, text, transform=axes.transAxes, va="center")
    return figure
