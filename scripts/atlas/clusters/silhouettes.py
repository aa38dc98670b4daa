"""How well the models of a pool cluster, and which are nearest to which."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.metrics import silhouette_samples, silhouette_score

from atlas.clusters.approximate_neighbours import nearest_approximately
from atlas.clusters.exact_neighbours import nearest
from atlas.clusters.significance import significance, significance_of_large
from atlas.clusters.silhouette_sums import cosine_silhouettes
from atlas.errors import AtlasError
from atlas.files import write_csv
from atlas.spaces.embeddings import Embeddings, read_embeddings
from atlas.spaces.large_pools import TOO_MANY

DISTANCES = ("cosine", "cosine_clipped")
SILHOUETTE_COLUMNS = ("space", "dimension", "distance", "models", "domains", "silhouette", "reason",
                      "label", "labels", "p_value", "low", "high")  # fmt: skip
NEIGHBOUR_COLUMNS = ("space", "model", "domain", "silhouette", "rank", "neighbour",
                     "neighbour_domain", "similarity", "recall")  # fmt: skip
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
    """Why a pool has no silhouette, or an empty text; of each model's label, which is a `label`."""
    found = len(set(labels))
    if found < 2:
        return f"a silhouette needs at least two {label}s"
    if found >= len(labels):
        return f"a silhouette needs a {label} with at least two models"
    return ""


def silhouettes(*, embeddings: list[Path], silhouette: Path) -> None:
    """Write silhouette.csv: scikit-learn's silhouette per space, distance and label.

    Labels are the domains and, where a pool has several bases, the bases; each silhouette has a
    permutation p-value and a bootstrap interval over models (:mod:`atlas.clusters.significance`).
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
                if not reason and not found.all_pairs:
                    row |= _of_large(found, labels, kind)
                elif not reason:
                    matrix = distance(found.cosine_similarity(), kind)
                    score = float(silhouette_score(matrix, labels, metric="precomputed"))
                    row |= {"silhouette": score, **vars(significance(matrix, labels))}
                rows.append(row)
    write_csv(silhouette, SILHOUETTE_COLUMNS, rows)


def _of_large(found: Embeddings, labels: Sequence[str], kind: str) -> dict[str, Any]:
    """Silhouette of a large pool, by the distance that needs no pairs."""
    if kind != "cosine":
        return {"reason": f"{TOO_MANY}, and this distance needs them"}
    assert found.embeddings is not None
    score, sure = significance_of_large(found.embeddings, found.model_names, labels)
    return {"silhouette": score, **vars(sure)}


def model_silhouettes(found: Embeddings) -> list[float | None]:
    """Silhouette by domain (cosine) of each model; None where the pool has none."""
    if no_silhouette(found.domains):
        return [None] * len(found.model_names)
    if found.all_pairs:
        matrix = distance(found.cosine_similarity(), "cosine")
        samples = silhouette_samples(matrix, found.domains, metric="precomputed")
    else:
        assert found.embeddings is not None
        kinds, codes = np.unique(np.asarray(found.domains), return_inverse=True)
        (samples,) = cosine_silhouettes(found.embeddings, found.model_names, [codes], len(kinds))
    return [float(s) for s in samples]


def _all_nearest(found: Embeddings) -> Iterator[tuple[int, list[int], list[float]]]:
    """The ten models nearest to each: its index, theirs, and the similarities; equal ones by name."""
    names = found.model_names
    if not found.all_pairs:
        assert found.embeddings is not None
        yield from nearest(found.embeddings, names, RANKS)
        return
    for i, own in enumerate(found.cosine_similarity()):
        row = own.copy()
        row[i] = -np.inf
        least = np.partition(row, -RANKS)[-RANKS] if len(row) > RANKS else -2.0
        some = np.flatnonzero((row >= least) & np.isfinite(row)).tolist()
        near = sorted(some, key=lambda j, row=row: (-row[j], names[j]))[:RANKS]
        yield i, near, row[near].tolist()


def neighbours(
    *, embeddings: list[Path], neighbours: Path, search: Literal["exact", "faiss"] = "exact"
) -> None:
    """Write neighbours.csv: per space and model its silhouette (cosine) and ten nearest models.

    Equal similarities are ranked by name. A space without embeddings has no rows.

    :param search: exact, or faiss (:mod:`atlas.clusters.approximate_neighbours`), whose recall is a
        column (exact: 1).
    :raises AtlasError: where faiss is asked for and a space has similarities and no vectors.
    """
    spaces = (read_embeddings(file) for file in embeddings)
    rows = (row for found in spaces if not found.reason for row in _neighbour_rows(found, search))
    write_csv(neighbours, NEIGHBOUR_COLUMNS, rows)


def _neighbour_rows(found: Embeddings, search: str) -> Iterator[dict[str, Any]]:
    names, domains = found.model_names, found.domains
    scores = model_silhouettes(found)
    recall, all_nearest = 1.0, _all_nearest(found)
    if search == "faiss":
        if found.embeddings is None:
            raise AtlasError(
                f"{found.space} has similarities and no vectors, which an index of faiss needs; "
                "choose neighbours: exact for this pool."
            )
        recall, all_nearest = nearest_approximately(found.embeddings, names, RANKS)
    for i, near, similar in all_nearest:
        for rank, (j, cosine) in enumerate(zip(near, similar, strict=True), start=1):
            yield {
                "space": found.space, "model": names[i], "domain": domains[i],
                "silhouette": scores[i], "rank": rank, "neighbour": names[j],
                "neighbour_domain": domains[j], "similarity": cosine, "recall": recall,
            }  # fmt: skip
