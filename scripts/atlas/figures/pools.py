"""Figures of a pool: the same bytes each time, safe for colour-blind readers, legible in grey."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from atlas.clusters.map_files import Map, read_map
from atlas.clusters.maps import no_map
from atlas.clusters.silhouettes import model_silhouettes, no_silhouette
from atlas.figures.canvas import (
    HATCHES,
    LINE,
    apart,
    digits,
    frame,
    legend,
    legend_columns,
    note,
    signed,
    write,
)
from atlas.figures.heat_maps import heat_map, similarity_figure
from atlas.files import read_csv
from atlas.spaces.embeddings import Embeddings, read_embeddings
from atlas.spaces.names import space_title

MOST_BARS = 120  # more bars cannot be told apart
SIZE = 6  # points: a marker
MOST_MARKERS = 1000  # more are drawn small, and as one image
MOST_DOMAINS = 60  # whose names a legend has
TALLEST = 9.0  # inches: a page
FAINT = 0.05  # silhouettes that all are smaller than this show no bars


def draw(
    *, embeddings: Path, points: Path, silhouettes: Path, pool: str, looks: dict[str, list[str]],
    mapped: list[Path], similarity: list[Path], silhouette: list[Path]
) -> None:  # fmt: skip
    """Draw a pool in one space: its map, its similarities, its silhouettes.

    :param points: map.csv of the space. :param silhouettes: silhouette.csv of the pool.
    :param looks: colour and marker of each domain of the pool, sorted by domain.
    :param mapped, similarity, silhouette: where each goes (:func:`atlas.figures.canvas.write`).
    """
    found, there = read_embeddings(embeddings), read_map(points)
    look = {domain: (colour, marker) for domain, (colour, marker) in looks.items()}
    by = f"{space_title(found.space).lower()}: pool\N{NO-BREAK SPACE}{pool}"
    interval = mean_interval(silhouettes, found.space)
    write(mapped, lambda width: map_figure(found, there, f"Map of the models by {by}", look, width))
    title = f"Which models resemble each other by {by}"
    shown = heat_map(found)
    write(similarity, lambda width: similarity_figure(found, shown, title, look, width))
    apart = f"Whether domains stand apart by {by}"
    samples = [] if found.reason else model_silhouettes(found)
    write(silhouette, lambda w: silhouette_figure(found, samples, apart, look, w, interval))


def mean_interval(silhouettes: Path, space: str) -> tuple[float, float] | None:
    """The 95 % interval of the silhouette of a space, by domain and cosine; None where there is none."""
    for row in read_csv(silhouettes):
        of = (row["space"], row["distance"], row["label"])
        if of == (space, "cosine", "domain") and row["low"]:
            return float(row["low"]), float(row["high"])
    return None


def map_figure(
    found: Embeddings, there: Map, title: str, look: dict[str, tuple[str, str]], width: float
) -> Figure:
    """The map of a pool; colour and marker are the domain, and its distances are explained below."""
    if reason := no_map(found):
        return note(title, reason, width)
    sizes, height = Counter(found.domains), max(2.6, width * 0.55)
    most = int((TALLEST - height - 1) / LINE) * legend_columns(list(look), width)
    most = min(most, MOST_DOMAINS)
    named = sorted(sorted(look, key=lambda domain: -sizes[domain])[:most])
    unnamed = len(look) - len(named)
    rest = f" {unnamed} more domains are not named." if unnamed else ""
    figure, (axes,) = frame(width, height, title, there.fit + rest)
    labels, many = np.array(found.domains), len(there.places) > MOST_MARKERS
    handles = []
    for domain, (colour, marker) in look.items():
        chosen = there.places[labels == domain]
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=4 if many else SIZE**2, c=colour, marker=marker,
            edgecolors="none" if many else "black", linewidths=0.5, rasterized=many,
        )  # fmt: skip
        if domain in named:
            handles.append(Line2D([], [], linestyle="none", color=colour, marker=marker, markersize=SIZE,
                                  markeredgecolor="black", markeredgewidth=0.5))  # fmt: skip
    axes.set(xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set(visible=True, color="0.8")
    axes.set_adjustable("datalim")
    axes.margins(0.08)
    if there.method.startswith("classical"):
        _scale_bar(axes, float(np.ptp(there.places, axis=0).max()))
    legend(figure, handles, named, width, title="Domain of the training data")
    return figure


def _scale_bar(axes: Axes, span: float) -> None:
    """A length of the map and the cosine distance that it stands for, below the models."""
    if not span:
        return
    power = 10 ** np.floor(np.log10(span / 4))
    length = float(next(step * power for step in (5, 2, 1) if step * power <= span / 4))
    low, left = axes.dataLim.y0 - 0.1 * span, axes.dataLim.x0
    axes.plot([left, left + length], [low, low], color="black", linewidth=1.5)
    axes.annotate(f"cosine distance {length:g}", (left, low), xytext=(0, -3),
                  textcoords="offset points", va="top")  # fmt: skip


def silhouette_figure(
    found: Embeddings, silhouettes: Sequence[float | None], title: str,
    look: dict[str, tuple[str, str]], width: float, interval: tuple[float, float] | None = None,
) -> Figure:  # fmt: skip
    """Silhouette of each model, grouped by domain, and their mean with its interval."""
    if reason := found.reason or no_silhouette(found.domains):
        return note(title, reason, width)
    samples = [s for s in silhouettes if s is not None]
    n, mean, few = len(samples), float(np.mean(samples)), len(samples) <= MOST_BARS
    gap = 1 if few else max(1, n // (8 * len(look)))
    height = min(
        TALLEST, max(1.5, 0.5 + max(LINE * len(look), 0.1 * (n + len(look)) if few else 0))
    )
    figure, (axes,) = frame(width, height, title, _about(samples, mean, interval))
    place, ticks = 0, []
    for k, (domain, (colour, _)) in enumerate(look.items()):
        values = sorted((s for s, of in zip(samples, found.domains, strict=True) if of == domain),
                        reverse=True)  # fmt: skip
        rows = list(range(place, place + len(values)))
        if few:
            axes.barh(rows, values, height=0.8, color=colour, edgecolor="black", linewidth=0.4,
                      hatch=HATCHES[k % len(HATCHES)])  # fmt: skip
        else:
            axes.fill_betweenx(rows, values, step="mid", color=colour, linewidth=0, rasterized=True)
        ticks.append((place + (len(values) - 1) / 2, domain))
        place += len(values) + gap
    if interval:
        axes.axvspan(*interval, color="0.85", linewidth=0, zorder=0)
    axes.axvline(mean, color="black", linestyle="--", linewidth=1)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.set_yticks(*apart(ticks, 0.8 * place * LINE / (height - 0.4)))
    axes.set_ylim(place - gap, -1)
    axes.set_xlim(min(-0.3, min(samples) - 0.05), 1.0)
    axes.set_xlabel("Silhouette of a model (1\N{NO-BREAK SPACE}-\N{NO-BREAK SPACE}cosine)")
    return figure


def _about(samples: Sequence[float], mean: float, interval: tuple[float, float] | None) -> str:
    """What the lines of a silhouette figure are, and what it means where there are no bars to see."""
    text = f"Dashed: the mean, {signed(mean, digits(mean))}"
    if interval:
        low, high = (signed(end, digits(*interval)) for end in interval)
        text += f"; grey: its 95 % interval over models, {low} to {high}"
    if max(map(abs, samples)) < FAINT:
        least, most = (signed(end, digits(*samples)) for end in (min(samples), max(samples)))
        text += (f". No bars to see: all silhouettes lie between {least} and {most}, models are hardly "
                 "closer to their own domain than to others by this space")  # fmt: skip
    return f"{text}."
