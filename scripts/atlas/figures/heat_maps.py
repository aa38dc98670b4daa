"""Heat maps of cosine similarities: one scale for all spaces, ordered by cluster, domains at the edges."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from atlas.clusters.silhouettes import distance
from atlas.figures.canvas import LINE, apart, digits, frame, note, plt, signed
from atlas.figures.style import short_names
from atlas.spaces.embeddings import Embeddings, unit_blocks

FAINT = 0.05  # cosines that all are smaller than this show no colour
BEST_ORDER = 500  # of more models, neighbours in a tree may stand in either order
NUMBERS = 0.28  # inches of a cell that its number fits into
STRIP, GAP = 0.02, 0.008  # of the domains at the edges, by the side of the map
SELF = "grey: a model with itself"


class HeatMap(NamedTuple):
    """Cosine similarities (n, n), of models by cluster, or of the means between domains.

    The diagonal of models is NaN, and so are means of no pair.
    """

    matrix: np.ndarray[Any, Any]
    names: list[str]
    domains: list[str]


def heat_map(found: Embeddings) -> HeatMap | None:
    """What the heat map of a pool shows; None where it has no embeddings.

    Of a pool that is too large for all pairs: the means between domains.
    """
    if found.reason:
        return None
    if found.all_pairs:
        matrix, domains = found.cosine_similarity().copy(), found.domains
        names = short_names(found.model_names)
        np.fill_diagonal(matrix, np.nan)
    else:
        matrix, domains = domain_means(found)
        names = domains
    order = by_cluster(matrix)
    return HeatMap(
        matrix[np.ix_(order, order)], [names[i] for i in order], [domains[i] for i in order]
    )


def by_cluster(matrix: np.ndarray[Any, Any]) -> list[int]:
    """An order in which similar rows stand together: leaves of a tree by average linkage.

    :param matrix: cosine similarities (n, n); the diagonal and what is not known may be NaN.
    """
    if len(matrix) < 3:
        return list(range(len(matrix)))
    condensed = squareform(distance(np.nan_to_num(matrix), "cosine"), checks=False)
    tree = linkage(condensed, "average")
    if len(matrix) <= BEST_ORDER:
        tree = optimal_leaf_ordering(tree, condensed)
    return [int(i) for i in leaves_list(tree)]


def domain_means(found: Embeddings) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Mean cosine similarity between the models of two domains (NaN without a pair), and the domains."""
    assert found.embeddings is not None
    domains, codes = np.unique(found.domains, return_inverse=True)
    totals = np.zeros((len(domains), found.dimension))
    for place, unit in unit_blocks(found.embeddings, found.model_names):
        totals += np.eye(len(domains))[codes[place]].T @ unit
    sizes = np.bincount(codes).astype(float)
    pairs = np.outer(sizes, sizes) - np.diag(sizes)  # a model is not compared with itself
    sums = totals @ totals.T - np.diag(sizes)
    matrix = np.divide(sums, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)
    return matrix, [str(domain) for domain in domains]


def similarity_figure(
    found: Embeddings, shown: HeatMap | None, title: str, look: dict[str, tuple[str, str]], width: float
) -> Figure:  # fmt: skip
    """Heat map of cosine similarities, from -1 to 1, its rows named as far as there is room."""
    if shown is None:
        return note(title, found.reason, width)
    matrix, names, domains = shown
    n, known = len(names), matrix[np.isfinite(matrix)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 0.0)
    ends = [signed(end, digits(low, high)) for end in (low, high)]
    about = f"Colours go from -1 to 1 in every figure, values here from {ends[0]} to {ends[1]}"
    if max(-low, high) < FAINT:
        about += ", too faint to see: by this space, models hardly resemble each other"
    about += f"; {SELF}." if found.all_pairs else ", means over models."
    side = width * (0.62 if width > 5 else 0.68)
    figure, (axes,) = frame(width, side + 0.5, title, about)
    image = axes.imshow(matrix, cmap=_colours(), vmin=-1, vmax=1, interpolation="nearest")
    cell = (side - 1.0) / n  # inches, names beside it
    for spine in axes.spines.values():
        spine.set_visible(False)
    _mark_domains(axes, domains, look)
    middles = [(first + (count - 1) / 2, domain) for domain, first, count in _groups(domains)]
    runs = apart(middles, 0.8 * LINE / cell)
    if cell >= LINE * 0.8:
        axes.set_yticks(range(n), names)
    else:
        axes.set_yticks(*runs)
    axes.set_xticks(*runs, rotation=90)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=2 + (STRIP + GAP) * 72 * side)
    if cell >= NUMBERS:
        _write_numbers(axes, matrix)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=[-1, -0.5, 0, 0.5, 1], pad=0.03)
    bar.ax.set_yticklabels(["-1", "-0.5", "0", "0.5", "1"])
    bar.set_label("Cosine similarity" if found.all_pairs else "Mean cosine similarity")
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def _colours() -> ListedColormap:
    """From blue by white to red; red ends in a lighter tone, so that grey prints tell the signs apart."""
    shades = np.concatenate([np.linspace(0, 0.5, 128), np.linspace(0.5, 0.85, 128)])
    return ListedColormap(plt.get_cmap("RdBu_r")(shades)).with_extremes(bad="0.75")


def _mark_domains(axes: Axes, domains: Sequence[str], look: dict[str, tuple[str, str]]) -> None:
    """A strip of the domains' colours along the left and the upper edge."""
    for domain, first, count in _groups(domains):
        beside, above = (-STRIP - GAP, first - 0.5), (first - 0.5, 1 + GAP)
        for corner, *size, where in (
            (beside, STRIP, count, axes.get_yaxis_transform()),
            (above, count, STRIP, axes.get_xaxis_transform()),
        ):
            axes.add_patch(Rectangle(corner, *size, transform=where, color=look[domain][0],
                                     linewidth=0, clip_on=False))  # fmt: skip


def _groups(domains: Sequence[str]) -> list[tuple[str, int, int]]:
    """Domain, first place and length of each run of models of one domain."""
    found, place = [], 0
    for domain, run in groupby(domains):
        count = len(list(run))
        found.append((domain, place, count))
        place += count
    return found


def _write_numbers(axes: Axes, matrix: np.ndarray[Any, Any]) -> None:
    for i, j in zip(*np.nonzero(np.isfinite(matrix)), strict=True):
        value = float(matrix[i, j])
        axes.text(j, i, signed(value).replace("0.", ".", 1), ha="center", va="center",
                  color="white" if value > 0.8 or value < -0.6 else "black")  # fmt: skip
