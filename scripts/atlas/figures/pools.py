"""Figures of a pool: the same bytes each time, safe for colour-blind readers, legible in grey."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atlas.clusters.map_files import read_map
from atlas.clusters.maps import no_map
from atlas.clusters.silhouettes import model_silhouettes, no_silhouette
from atlas.figures.canvas import HATCHES, STYLE, note, plt, save
from atlas.figures.style import looks
from atlas.spaces.embeddings import Embeddings, read_embeddings, unit_blocks
from atlas.spaces.names import space_title

MOST_NAMES, MOST_BARS = 60, 300  # more names, or bars, cannot be told apart
MOST_MARKERS = 1000  # more are drawn small, and as one image


def draw(
    *, embeddings: Path, points: Path, pool: str, palette: list[str], markers: list[str],
    tsne: list[Path], similarity: list[Path], silhouette: list[Path]
) -> None:  # fmt: skip
    """Draw a pool in one space: its map, its similarities, its silhouettes.

    :param points: map.csv of the space.
    :param tsne, similarity, silhouette: where each goes, as SVG and as PNG.
    """
    found = read_embeddings(embeddings)
    look = looks(found.domains, palette, markers)
    title = f"{space_title(found.space)} of {pool}"
    with plt.rc_context(STYLE):
        save(tsne_figure(found, read_map(points)[1], title, look), *tsne)
        save(similarity_figure(found, title), *similarity)
        save(silhouette_figure(found, title, look), *silhouette)


def tsne_figure(
    found: Embeddings, points: np.ndarray[Any, Any], title: str, look: dict[str, tuple[str, str]]
) -> Figure:
    """The map of a pool (n, 2); colour and marker are the domain."""
    if reason := no_map(found):
        return note(title, reason)
    figure, axes = plt.subplots(figsize=(5.6, 4.2), layout="constrained")
    labels = np.array(found.domains)
    for domain, (colour, marker) in look.items():
        chosen = points[labels == domain]
        many = len(points) > MOST_MARKERS
        axes.scatter(
            chosen[:, 0], chosen[:, 1], s=4 if many else 64, c=colour, marker=marker, label=domain,
            edgecolors="none" if many else "black", linewidths=0.6, rasterized=many,
        )  # fmt: skip
    axes.set(xlabel="t-SNE 1", ylabel="t-SNE 2", xticks=[], yticks=[])
    axes.set_title(title, loc="left")
    axes.margins(0.1)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title="Domain")
    return figure


def similarity_figure(found: Embeddings, title: str) -> Figure:
    """Heat map of cosine similarities, models ordered by domain and name."""
    if found.reason:
        return note(title, found.reason)
    if not found.all_pairs:
        return domain_figure(found, title)
    n = len(found.model_names)
    order = sorted(range(n), key=lambda i: (found.domains[i], found.model_names[i]))
    matrix = found.cosine_similarity()[np.ix_(order, order)]
    # The range of the pool itself, without the diagonal: all structure is within it.
    off = matrix[~np.eye(n, dtype=bool)]
    limits = {"vmin": float(off.min()), "vmax": float(off.max())}
    names = [found.model_names[i] for i in order]
    figure, axes = _heat_map(matrix, names, title, "Cosine similarity", **limits)
    domains = [found.domains[i] for i in order]
    for i in range(1, n):
        if domains[i] != domains[i - 1]:
            axes.axhline(i - 0.5, color="white", linewidth=1.2)
            axes.axvline(i - 0.5, color="white", linewidth=1.2)
    return figure


def domain_figure(found: Embeddings, title: str) -> Figure:
    """Heat map of the mean cosine similarity between the models of two domains, of a large pool."""
    assert found.embeddings is not None
    domains, codes = np.unique(found.domains, return_inverse=True)
    totals = np.zeros((len(domains), found.dimension))
    for place, unit in unit_blocks(found.embeddings, found.model_names):
        totals += np.eye(len(domains))[codes[place]].T @ unit
    sizes = np.bincount(codes).astype(float)
    pairs = np.outer(sizes, sizes) - np.diag(sizes)  # a model is not compared with itself
    sums = totals @ totals.T - np.diag(sizes)
    matrix = np.divide(sums, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
    return _heat_map(matrix, list(domains), title, "Mean cosine similarity")[0]


def _heat_map(
    matrix: np.ndarray[Any, Any], names: list[str], title: str, label: str, **limits: float
) -> tuple[Figure, Axes]:
    """A square matrix (n, n) with n names, as far as they can be told apart."""
    side = min(9.0, 3.4 + 0.18 * len(names))
    figure, axes = plt.subplots(figsize=(side + 1.1, side), layout="constrained")
    image = axes.imshow(matrix, cmap="viridis", **limits)
    if len(names) <= MOST_NAMES:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
    else:
        axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, loc="left")
    figure.colorbar(image, ax=axes, shrink=0.8, label=label)
    return figure, axes


def silhouette_figure(found: Embeddings, title: str, look: dict[str, tuple[str, str]]) -> Figure:
    """Silhouette of each model, grouped by domain, and their mean."""
    reason = found.reason or no_silhouette(found.domains)
    if reason:
        return note(title, reason)
    samples = [s for s in model_silhouettes(found) if s is not None]
    n = len(samples)
    height = max(2.6, 0.8 + 0.2 * n) if n <= MOST_BARS else max(4.8, 0.8 + 0.3 * len(look))
    figure, axes = plt.subplots(figsize=(5.6, height), layout="constrained")
    gap = 1 if n <= MOST_BARS else max(1, n // (8 * len(look)))
    place, ticks, names = 0, [], []
    for k, (domain, (colour, _)) in enumerate(look.items()):
        members = [i for i in range(n) if found.domains[i] == domain]
        values = sorted((float(samples[i]) for i in members), reverse=True)
        rows = list(range(place, place + len(values)))
        if n <= MOST_BARS:
            axes.barh(rows, values, height=0.8, color=colour, edgecolor="black", linewidth=0.5,
                      hatch=HATCHES[k % len(HATCHES)])  # fmt: skip
        else:
            axes.fill_betweenx(rows, values, step="mid", color=colour, linewidth=0, rasterized=True)
        ticks.append(place + (len(values) - 1) / 2)
        names.append(domain)
        place += len(values) + gap
    mean = float(np.mean(samples))
    axes.axvline(mean, color="black", linestyle="--", linewidth=1)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.annotate(f"mean {mean:.2f}", (mean, 1.0), xycoords=("data", "axes fraction"),
                  xytext=(3, 2), textcoords="offset points", fontsize=8)  # fmt: skip
    axes.set_yticks(ticks, names)
    axes.invert_yaxis()
    axes.set_xlim(min(-0.3, min(samples) - 0.05), 1.0)
    axes.set_xlabel("Silhouette (1 − cosine)")
    axes.set_title(title, loc="left", pad=16)
    return figure
