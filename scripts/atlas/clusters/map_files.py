"""Maps of a pool as they are stored: map.csv, one row per model."""

from pathlib import Path
from typing import Any

import numpy as np

from atlas.files import read_csv

COLUMNS = ("model", "x", "y", "method")


def read_map(path: Path) -> tuple[list[str], np.ndarray[Any, Any], str]:
    """Names, places (n, 2) float64 and method of a map; no names where there is none."""
    rows = read_csv(path)
    places = np.array([[float(row["x"]), float(row["y"])] for row in rows]).reshape(-1, 2)
    return [row["model"] for row in rows], places, rows[0]["method"] if rows else ""
