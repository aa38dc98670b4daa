"""Nearest models of very large pools by an inverted file of faiss: most of them, in a fraction of the time.

The vectors are put into cells by k-means, and each model is compared with those of the cells nearest to it
(faiss's ``IndexIVFFlat``). What share of the exact neighbours is found, the recall, is measured on a sample
of the models with :mod:`atlas.clusters.exact_neighbours`.
"""

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from atlas.clusters.exact_neighbours import cosines, name_order, nearest
from atlas.progress import Progress, say
from atlas.spaces.embeddings import single_precision

Array = np.ndarray[Any, Any]
CELLS_PER_ROOT = 2  # cells: so many times the square root of the number of models
TRAINED_ON = 64  # vectors per cell that k-means sees
PROBED = 16  # cells that a model is compared with
SAMPLE = 500  # models whose exact neighbours are found, too
BLOCK = 4096  # models that are looked up at a time
SEED = 0


def nearest_approximately(
    vectors: Array, names: Sequence[str], ranks: int
) -> tuple[float, Iterator[tuple[int, list[int], list[float]]]]:
    """The recall, and what :func:`~atlas.clusters.exact_neighbours.nearest` gives, of those found.

    Cosines are those of float64, and equal ones are ranked by name.

    :param vectors: (n, d) float32. :param ranks: how many, at most n - 1.
    :returns: mean share, over a sample of the models, of the exact neighbours that are among the found
        ones; an iterator over all models.
    :raises AtlasError: where a vector is zero.
    """
    n = len(vectors)
    ranks = min(ranks, n - 1)
    unit = single_precision(vectors, names)
    index = _index(unit)
    sample = np.sort(np.random.default_rng(SEED).choice(n, min(SAMPLE, n), replace=False))
    found = _search(index, unit[sample], sample, ranks)
    exact = nearest(vectors, names, ranks, of=sample.tolist(), unit=unit)
    shares = [len({*near} & {*some}) / ranks
              for (_, near, _), some in zip(exact, found, strict=True)]  # fmt: skip
    recall = float(np.mean(shares))
    say(f"recall {recall:.4f} of {len(sample)} models")
    return recall, _all(index, vectors, unit, names, ranks)


def _index(unit: Array) -> Any:
    """An inverted file of the rows (n, d), by inner product."""
    import faiss

    n, width = unit.shape
    faiss.omp_set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    cells = max(1, min(n // 2, round(CELLS_PER_ROOT * math.sqrt(n))))
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFFlat(quantizer, width, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = SEED + 1  # faiss takes a seed above 0
    index.cp.spherical = True
    index.cp.min_points_per_centroid = 1  # of a small pool: no warning
    index.cp.max_points_per_centroid = TRAINED_ON
    index.nprobe = min(PROBED, cells)
    say(f"{n} models in {cells} cells, of which {index.nprobe} are looked into")
    index.train(unit)
    index.add(unit)
    return index


def _search(index: Any, queries: Array, own: Array, ranks: int) -> list[list[int]]:
    """The models found for each query but itself; all are looked at where cells held too few."""
    import faiss

    _, rows = index.search(queries, ranks + 1)
    few = np.flatnonzero((rows < 0).any(axis=1))
    if few.size:
        whole = faiss.SearchParametersIVF(nprobe=index.nlist)
        rows[few] = index.search(queries[few], ranks + 1, params=whole)[1]
    return [[j for j in row if j != i][:ranks]
            for i, row in zip(own.tolist(), rows.tolist(), strict=True)]  # fmt: skip


def _all(
    index: Any, vectors: Array, unit: Array, names: Sequence[str], ranks: int
) -> Iterator[tuple[int, list[int], list[float]]]:
    by_name = name_order(names)
    progress = Progress(len(vectors), "model")
    for start in range(0, len(vectors), BLOCK):
        own = np.arange(start, min(start + BLOCK, len(vectors)))
        for i, some in zip(own.tolist(), _search(index, unit[own], own, ranks), strict=True):
            near = np.array(some)
            exact = cosines(vectors, names, i, near)
            order = np.lexsort((by_name[near], -exact))
            yield i, near[order].tolist(), exact[order].tolist()
        progress.step(names[own[-1]], int(own[-1]) + 1)
