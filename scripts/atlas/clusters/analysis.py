"""A pool in one small table: what the analysis notebook computes, next to what it shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import AtlasError
from atlas.files import read_csv, write_csv
from atlas.spaces.embeddings import Embeddings, read_embeddings

COLUMNS = ("space", "measure", "value")


def analyse(*, embeddings: list[Path], silhouette: Path, neighbours: Path, analysis: Path) -> None:
    """Write analysis.csv, tidy: space, measure, value.

    Measures per space: ``models`` and ``domains`` (numbers of them); ``silhouette_cosine`` and
    ``silhouette_cosine_clipped``; ``similarity_within`` and ``similarity_between`` (mean cosine
    similarity of pairs of one domain, and of two); ``neighbour_accuracy`` (share of models whose
    nearest model has their domain). A value is empty where the space cannot have it.

    :param silhouette: silhouette.csv of the pool. :param neighbours: its neighbours.csv.
    :raises AtlasError: where silhouette.csv lacks a space.
    """
    scores = {
        (row["space"], row["distance"]): row["silhouette"]
        for row in read_csv(silhouette)
        if row["label"] == "domain"
    }
    accuracy = neighbour_accuracy(read_csv(neighbours))
    rows: list[dict[str, Any]] = []
    for file in embeddings:
        found = read_embeddings(file)
        within, between = (None, None) if found.reason else mean_similarities(found)
        measures: dict[str, float | int | None] = {
            "models": len(found.model_names),
            "domains": len(set(found.domains)),
        }
        for kind in ("cosine", "cosine_clipped"):
            text = scores.get((found.space, kind))
            if text is None:
                raise AtlasError(f"{silhouette}: has no row for {found.space} and {kind}.")
            measures[f"silhouette_{kind}"] = float(text) if text else None
        measures |= {"similarity_within": within, "similarity_between": between}
        measures["neighbour_accuracy"] = accuracy.get(found.space)
        rows += [{"space": found.space, "measure": m, "value": v} for m, v in measures.items()]
    write_csv(analysis, COLUMNS, rows)


def neighbour_accuracy(rows: Sequence[dict[str, str]]) -> dict[str, float]:
    """Share of models whose nearest model has their domain, per space, from neighbours.csv."""
    right: dict[str, list[bool]] = {}
    for row in rows:
        if row["rank"] == "1":
            right.setdefault(row["space"], []).append(row["domain"] == row["neighbour_domain"])
    return {space: sum(hits) / len(hits) for space, hits in right.items()}


def mean_similarities(found: Embeddings) -> tuple[float | None, float | None]:
    """Mean cosine similarity of pairs of models of one domain, and of two; None without a pair."""
    labels = np.array(found.domains)
    similarity = found.cosine_similarity()
    same = labels[:, None] == labels[None, :]
    pairs = np.tri(len(labels), k=-1, dtype=bool)
    one, two = (similarity[pairs & chosen] for chosen in (same, ~same))
    return (float(one.mean()) if one.size else None, float(two.mean()) if two.size else None)


def domain_similarities(found: Embeddings) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Mean cosine similarity between and within domains.

    :returns: the domains, sorted, and a matrix (d, d) float64, symmetric; its diagonal leaves
        the similarity of a model with itself out, and is NaN for a domain of one model.
    """
    names = sorted(set(found.domains))
    similarity = found.cosine_similarity()
    members = {n: [i for i, d in enumerate(found.domains) if d == n] for n in names}
    matrix = np.full((len(names), len(names)), np.nan)
    for a, one in enumerate(names):
        for b, two in enumerate(names):
            values = [similarity[i, j] for i in members[one] for j in members[two] if i != j]
            if values:
                matrix[a, b] = np.mean(values)
    return names, matrix
