"""Maps: a place in the plane for each model of a pool, from its embeddings in one space.

Up to 5,000 models, t-SNE of the cosine distances as published: perplexity min(2, n - 1), seed 42. Beyond,
a perplexity of 2 tears a pool into thousands of crumbs and all pairs no longer fit into memory: t-SNE
by Barnes and Hut's approximation, from the first 50 principal components of the unit vectors (whose
Euclidean distances grow with the cosine distances), begun at the first two, perplexity 30.
"""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA, KernelPCA
from sklearn.manifold import TSNE

from atlas.clusters.map_files import COLUMNS
from atlas.clusters.silhouettes import distance
from atlas.files import write_csv
from atlas.spaces.embeddings import Embeddings, read_embeddings, single_precision
from atlas.spaces.large_pools import ALL_PAIRS

SEED = 42
EXACT = ALL_PAIRS  # the published procedure compares all pairs
COMPONENTS, PERPLEXITY = 50, 30


def map_models(*, embeddings: Path, points: Path) -> None:
    """Write map.csv of one space: model, x, y, and how the map was made.

    Where there is no map (no embeddings, or fewer than three models) it has no rows.
    """
    found = read_embeddings(embeddings)
    rows = []
    if not no_map(found):
        places, method = places_of(found)
        for name, (x, y) in zip(found.model_names, places.tolist(), strict=True):
            rows.append({"model": name, "x": x, "y": y, "method": method})
    write_csv(points, COLUMNS, rows)


def no_map(found: Embeddings) -> str:
    """Why a pool has no map, or an empty text where it has one."""
    few = len(found.model_names) < 3
    return found.reason or ("a map needs at least three models" if few else "")


def places_of(found: Embeddings) -> tuple[np.ndarray[Any, Any], str]:
    """A map of the pool (n, 2) float32, and how it was made, in words."""
    n = len(found.model_names)
    if n <= EXACT:
        perplexity = min(2, n - 1)
        tsne = TSNE(perplexity=perplexity, random_state=SEED, metric="precomputed", init="random")
        places = tsne.fit_transform(distance(found.cosine_similarity(), "cosine"))
        return np.asarray(places), f"t-SNE of cosine distances, perplexity {perplexity}"
    components = principal_components(found)
    start = components[:, :2] / components[:, 0].std() * 1e-4
    tsne = TSNE(perplexity=PERPLEXITY, random_state=SEED, init=start, n_jobs=1)
    method = (
        f"t-SNE (Barnes-Hut) of {components.shape[1]} principal components of the unit vectors, "
        f"perplexity {PERPLEXITY}"
    )
    return np.asarray(tsne.fit_transform(components)), method


def principal_components(found: Embeddings) -> np.ndarray[Any, Any]:
    """The first principal components (n, at most 50) float32 of the unit vectors.

    Where only similarities are stored: of the vectors whose inner products they are.
    """
    if found.embeddings is None:
        assert found.similarity is not None
        kernel = KernelPCA(COMPONENTS, kernel="precomputed", eigen_solver="randomized",
                           random_state=SEED)  # fmt: skip
        return np.asarray(kernel.fit_transform(found.similarity), dtype=np.float32)
    unit = single_precision(found.embeddings, found.model_names)
    pca = PCA(min(COMPONENTS, *unit.shape), copy=False, svd_solver="randomized", random_state=SEED)
    return np.asarray(pca.fit_transform(unit), dtype=np.float32)
