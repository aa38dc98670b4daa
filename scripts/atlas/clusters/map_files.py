"""Maps of a pool as they are stored: map.csv, one row per model."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from atlas.files import read_csv

# Of the whole map are method, stress (of maps that keep distances) and neighbours_kept (of t-SNE).
COLUMNS = ("model", "x", "y", "method", "stress", "neighbours_kept")
NEAREST = 10  # neighbours of which a map by t-SNE may keep some
FITS = ((0.1, "well"), (0.2, "roughly"))  # Kruskal's words are fair and poor for .1 and .2


class Map(NamedTuple):
    """A map: names (none where there is no map), places (n, 2) float64, how it was made, how it fits."""

    names: list[str]
    places: np.ndarray[Any, Any]
    method: str
    fit: str  # what its distances mean and how well they fit, in a sentence or two


def read_map(path: Path) -> Map:
    """Read map.csv."""
    rows = read_csv(path)
    places = np.array([[float(row["x"]), float(row["y"])] for row in rows]).reshape(-1, 2)
    names = [row["model"] for row in rows]
    return Map(names, places, rows[0]["method"], fit(rows[0])) if rows else Map([], places, "", "")


def fit(row: dict[str, str]) -> str:
    """What distances on a map mean and how well they fit, from a row of map.csv."""
    if not row["stress"]:
        return (f"Near points are similar models, distances between far points mean nothing: of the "
                f"{NEAREST} nearest models of each, {100 * float(row['neighbours_kept']):.0f} % are "
                f"among the {NEAREST} nearest on the map.")  # fmt: skip
    stress = float(row["stress"])
    how = next((word for limit, word in FITS if stress < limit), "poorly")
    more = ": these models differ in more ways than a plane can show" if how == "poorly" else ""
    return f"Distances on the map are cosine distances; they fit {how} (stress {stress:.2f}){more}."
