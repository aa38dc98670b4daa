"""Which models of a pool are nearest to which."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from atlas.clusters.approximate_neighbours import nearest_approximately
from atlas.clusters.exact_neighbours import nearest
from atlas.clusters.silhouettes import model_silhouettes
from atlas.errors import AtlasError
from atlas.files import write_csv
from atlas.spaces.embeddings import Embeddings, read_embeddings

NEIGHBOUR_COLUMNS = ("space", "model", "domain", "silhouette", "rank", "neighbour",
                     "neighbour_domain", "similarity", "recall")  # fmt: skip
RANKS = 10


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
