"""How well the models of a pool cluster, and which are nearest to which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import silhouette_samples, silhouette_score

from atlas.embeddings import read_embeddings
from atlas.files import write_csv
from atlas.significance import significance

DISTANCES = ("cosine", "cosine_clipped")
SILHOUETTE_COLUMNS = ("space", "dimension", "distance", "models", "domains", "silhouette", "reason",
                      "label", "labels", "p_value", "low", "high")  # fmt: skip
NEIGHBOUR_COLUMNS = ("space", "model", "domain", "silhouette", "rank", "neighbour",
                     "neighbour_domain", "similarity")  # fmt: skip
RANKS = 10


def distance(similarity: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, Any]:
    """Distances (n, n) from cosine similarities.

    ``cosine`` is 1 - cosine, in [0, 2]; ``cosine_clipped`` is clip(1 - cosine, 0, 1), which the
    published main script uses.
    """
    found = np.clip(1.0 - similarity, 0.0, 1.0 if kind == "cosine_clipped" else 2.0)
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)


def no_silhouette(labels: Sequence[str], label: str = "domain") -> str:
    """Why a pool has no silhouette, or an empty text where it has one.

    :param labels: label of each model. :param label: what the labels are.
    """
    found = len(set(labels))
    if found < 2:
        return f"a silhouette needs at least two {label}s"
    if found >= len(labels):
        return f"a silhouette needs a {label} with at least two models"
    return ""


def silhouettes(*, embeddings: list[Path], silhouette: Path) -> None:
    """Write silhouette.csv: scikit-learn's silhouette per space, distance and label.

    Labels are the domains and, where a pool has several bases, the bases; each silhouette has a
    permutation p-value and a bootstrap interval over models (:mod:`atlas.significance`).
    """
    rows: list[dict[str, Any]] = []
    for file in embeddings:
        found = read_embeddings(file)
        labellings = {"domain": found.domains}
        if len(set(found.base_model)) > 1:
            labellings["base"] = found.base_model
        for label, labels in labellings.items():
            reason = found.reason or no_silhouette(labels, label)
            for kind in DISTANCES:
                row: dict[str, Any] = dict.fromkeys(SILHOUETTE_COLUMNS)
                row |= {
                    "space": found.space, "dimension": found.dimension or None, "distance": kind,
                    "models": len(found.model_names), "domains": len(set(found.domains)),
                    "reason": reason, "label": label, "labels": len(set(labels)),
                }  # fmt: skip
                if not reason:
                    matrix = distance(found.cosine_similarity(), kind)
                    score = float(silhouette_score(matrix, labels, metric="precomputed"))
                    row |= {"silhouette": score, **vars(significance(matrix, labels))}
                rows.append(row)
    write_csv(silhouette, SILHOUETTE_COLUMNS, rows)


def neighbours(*, embeddings: list[Path], neighbours: Path) -> None:
    """Write neighbours.csv: per space and model its silhouette (cosine) and ten nearest models.

    Equal similarities are ranked by name. A space without embeddings has no rows.
    """
    rows: list[dict[str, Any]] = []
    for file in embeddings:
        found = read_embeddings(file)
        if found.reason:
            continue
        similarity = found.cosine_similarity()
        names = found.model_names
        scores: list[float | None] = [None] * len(names)
        if not no_silhouette(found.domains):
            matrix = distance(similarity, "cosine")
            samples = silhouette_samples(matrix, found.domains, metric="precomputed")
            scores = [float(s) for s in samples]
        for i, name in enumerate(names):
            for rank, j in enumerate(_nearest(similarity[i], i, names), start=1):
                rows.append({
                    "space": found.space, "model": name, "domain": found.domains[i],
                    "silhouette": scores[i], "rank": rank, "neighbour": names[j],
                    "neighbour_domain": found.domains[j], "similarity": float(similarity[i, j]),
                })  # fmt: skip
    write_csv(neighbours, NEIGHBOUR_COLUMNS, rows)


def _nearest(similarity: np.ndarray[Any, Any], i: int, names: Sequence[str]) -> list[int]:
    """The ten models nearest to model i, from its similarities (n,); equal ones by name."""
    row = similarity.copy()
    row[i] = -np.inf
    least = np.partition(row, -RANKS)[-RANKS] if len(row) > RANKS else -2.0
    near = np.flatnonzero((row >= least) & np.isfinite(row))
    return sorted(near.tolist(), key=lambda j: (-row[j], names[j]))[:RANKS]
