"""What all figures are drawn on: the same bytes each time, one style, two widths, three formats."""

import math
import textwrap
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import matplotlib
from fontTools import subset

matplotlib.use("agg")

from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import NullFormatter

from atlas.files import finished_stem

COLUMN, PAGE = 3.5, 7.2  # inches: one and two columns of a paper
POINTS = 8  # size of all text, at both widths
LINE = 0.16  # inches from line to line
LETTERS = 16  # of running text in an inch
GAP = 0.1  # inches between two labels
STYLE = {
    "svg.hashsalt": "delta-atlas",
    # Text is text: it can be found, copied and set in another font.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    # One font, and of Latin-1: a bold one, or a typographic minus, is another, for 0.1 s in each PDF.
    "axes.unicode_minus": False,
    "text.parse_math": False,  # domains may have dollars in their names
    "font.size": POINTS,
    "axes.titlesize": POINTS,
    "axes.labelsize": POINTS,
    "xtick.labelsize": POINTS,
    "ytick.labelsize": POINTS,
    "legend.fontsize": POINTS,
    "figure.titlesize": POINTS,
    "figure.labelsize": POINTS,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}
# Neither times nor versions.
METADATA: dict[str, dict[str, None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
# In a PDF, glyphs are placed already: these tables of a font say how, and cutting them takes longest.
subset.Options._drop_tables_default += ["GDEF", "GPOS", "GSUB"]
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "***")


def write(places: Sequence[Path], draw: Callable[[float], Figure]) -> None:
    """Draw a figure at the widths that its places ask for, and write it.

    :param places: one for each format (by its suffix) and width: that of a column where its name ends
        so (`map_column.pdf`), else that of a page.
    :param draw: width in inches -> the figure.
    """
    with plt.rc_context(STYLE):
        for width, files in groupby(sorted(places, key=_width), key=_width):
            figure = draw(width)
            lay_out(figure)  # once for all formats
            for file in files:
                figure.savefig(file, format=file.suffix[1:], metadata=METADATA[file.suffix])
            plt.close(figure)


def lay_out(figure: Figure) -> None:
    """Give everything its place, with labels in as many lines as they need."""
    # A ligature hides its letters from a search, and is a font of its own in a PDF.
    for text in figure.findobj(Text):
        text.set_fontfeatures(["-liga"])
    figure.draw_without_rendering()
    if _wrap_labels(figure):
        figure.draw_without_rendering()
    # A drawing widened the limits of maps to what their panels were before they had their places.
    for axes in figure.axes:
        if axes.get_adjustable() == "datalim":
            axes.autoscale_view()
    figure.set_layout_engine(None)  # one that does nothing ("none") draws twice each time


def _width(place: Path) -> float:
    return COLUMN if finished_stem(place).endswith("_column") else PAGE


def _wrap_labels(figure: Figure) -> bool:
    """Break horizontal labels that do not fit between their neighbours; whether one was broken."""
    wide, boxes = figure.get_figwidth(), [axes.get_position() for axes in figure.axes]
    more = 0
    for axes, box in zip(figure.axes, boxes, strict=True):
        beside = [b for b in boxes if b is not box and b.y0 < box.y1 and b.y1 > box.y0]
        middle = (box.x0 + box.x1) / 2
        left = max([0.0, *((b.x1 + box.x0) / 2 for b in beside if b.x1 <= box.x0)])
        right = min([1.0, *((b.x0 + box.x1) / 2 for b in beside if b.x0 >= box.x1)])
        text, room = axes.get_xlabel(), 2 * wide * min(middle - left, right - middle) - GAP
        room = max(room, 8 / LETTERS)
        broken = "\n".join(wrapped(line, room) for line in text.split("\n"))
        if broken != text:
            axes.set_xlabel(broken)
            more = max(more, broken.count("\n") - text.count("\n"))
    figure.set_figheight(figure.get_figheight() + more * LINE)
    return more > 0


def plain_ticks(*all_axes: Axis) -> None:
    """Ticks as plain figures: no power of ten that stands apart, or is written as mathematics."""
    for axis in all_axes:
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def frame(
    width: float, height: float, title: str, note: str = "", panels: int = 1, least: float = 1.0
) -> tuple[Figure, list[Axes]]:
    """A figure with panels that share the vertical axis, in as many rows as they need.

    :param width: of the figure, in inches. :param height: of a panel, in inches.
    :param title: what is seen; :param note: what else is to be known, below the title.
    :param least: least width of a panel, in inches.
    """
    columns = max(1, min(panels, int(width / least)))
    rows = math.ceil(panels / columns)
    above, below = wrapped(title, width), wrapped(note, width)
    lines = len(above.splitlines()) + len(below.splitlines())
    figure, grid = plt.subplots(
        rows, columns, figsize=(width, rows * height + lines * LINE), sharey=True,
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for axes in grid.flat[panels:]:
        axes.set_axis_off()
    # The title has empty lines, which the note takes: then both are kept free of everything else.
    heading = figure.suptitle(above + "\n" * len(below.splitlines()), x=0.01, ha="left")  # fmt: skip
    told = Annotation(below, (0, 0), xycoords=heading, va="bottom", ha="left", color="0.3")
    told.set_in_layout(False)
    figure.add_artist(told)
    return figure, list(grid.flat[:panels])


def legend_columns(labels: Sequence[str], width: float) -> int:
    """How many columns of a legend there is room for."""
    room = max((len(label) for label in labels), default=0) / LETTERS + 0.55
    return max(1, min(len(labels), int(width / room)))


def legend(
    figure: Figure, handles: Sequence[Artist], labels: Sequence[str], width: float, **more: str
) -> None:
    """A legend below the panels, in as many columns as there is room for; the figure grows by it."""
    columns = legend_columns(labels, width)
    lines = math.ceil(len(labels) / columns) + bool(more)
    figure.set_figheight(figure.get_figheight() + lines * LINE + 0.1)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, **more)


def wrapped(text: str, width: float) -> str:
    """Running text in lines that fit into a width in inches."""
    return textwrap.fill(text, int(width * LETTERS))


def signed(value: float, digits: int = 2) -> str:
    """A figure, with no minus before zero."""
    text = f"{abs(value):.{digits}f}"
    return f"-{text}" if value < 0 and float(text) else text


def digits(*values: float) -> int:
    """How many digits show that the largest of some figures is not 0, two at least."""
    largest = max(map(abs, values))
    return next((count for count in (2, 3) if largest >= 5 * 10.0**-count), 4)


def apart(ticks: Sequence[tuple[float, str]], least: float) -> tuple[list[float], list[str]]:
    """Places and names of those ticks that are at least so far from the one before."""
    kept: list[tuple[float, str]] = []
    for tick in ticks:
        if not kept or tick[0] - kept[-1][0] >= least:
            kept.append(tick)
    return [place for place, _ in kept], [name for _, name in kept]


def note(title: str, reason: str, width: float) -> Figure:
    """A figure that says why there is nothing to see."""
    figure, (axes,) = frame(width, 0.8, title)
    axes.set_axis_off()
    text = wrapped(f"No figure: {reason}.", width - 0.3)
    axes.text(0, 0.5, text, transform=axes.transAxes, va="center")
    return figure
