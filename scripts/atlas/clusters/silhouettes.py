"""How well the models of a pool cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import silhouette_samples, silhouette_score

from atlas.clusters.significance import significance, significance_of_large
from atlas.clusters.silhouette_sums import cosine_silhouettes
from atlas.files import write_csv
from atlas.spaces.embeddings import Embeddings, read_embeddings
from atlas.spaces.large_pools import TOO_MANY

DISTANCES = ("cosine", "cosine_clipped")
SILHOUETTE_COLUMNS = ("space", "dimension", "distance", "models", "domains", "silhouette", "reason",
                      "label", "labels", "p_value", "low", "high")  # fmt: skip


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
