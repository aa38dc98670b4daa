"""Maps: a place in the plane for each model of a pool, from its embeddings in one space.

* Fewer than 30 models: classical multidimensional scaling of the cosine distances. t-SNE puts twins
  among so few as far apart as strangers; here, a unit of the map is a cosine distance of 1. How far it is
  off says Kruskal's stress 1: the root of the mean squared error by that of the mean squared distance.
* Up to 5,000: t-SNE of the cosine distances as published: perplexity 2, seed 42.
* Beyond, a perplexity of 2 tears a pool into thousands of crumbs and all pairs no longer fit into memory:
  t-SNE by Barnes and Hut's approximation, from the first 50 principal components of the unit vectors
  (whose Euclidean distances grow with the cosine distances), begun at the first two, perplexity 30. Its angle
  of 0.8 and 500 steps take a third of the time of 0.5 and 1,000, for a hundredth of the neighbours kept.

Of t-SNE is told which share of the nearest models is among the nearest on the map.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA, KernelPCA
from sklearn.manifold import TSNE, ClassicalMDS
from sklearn.neighbors import NearestNeighbors

from atlas.clusters.map_files import COLUMNS, NEAREST
from atlas.clusters.silhouettes import distance
from atlas.files import write_csv
from atlas.spaces.embeddings import Embeddings, read_embeddings, single_precision
from atlas.spaces.large_pools import ALL_PAIRS

SEED = 42
FEW = 30  # from this many models on, t-SNE
ROUNDING = 1e-12  # a cosine distance below this is that of a model from its copy
EXACT = ALL_PAIRS  # the published procedure compares all pairs
COMPONENTS, PERPLEXITY, ANGLE, STEPS = 50, 30, 0.8, 500
ASKED = 300  # models of a large pool whose neighbours are looked up


def map_models(*, embeddings: Path, points: Path) -> None:
    """Write map.csv of one space: model, x, y, how the map was made and how well it fits.

    Where there is no map (no embeddings, or fewer than three models) it has no rows.
    """
    found = read_embeddings(embeddings)
    rows = []
    if not no_map(found):
        places, about = places_of(found)
        for name, (x, y) in zip(found.model_names, places.tolist(), strict=True):
            rows.append({"model": name, "x": x, "y": y, **about})
    write_csv(points, COLUMNS, rows)


def no_map(found: Embeddings) -> str:
    """Why a pool has no map, or an empty text where it has one."""
    few = len(found.model_names) < 3
    return found.reason or ("a map needs at least three models" if few else "")


def places_of(found: Embeddings) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """A map of the pool (n, 2), and the columns of it that are the same for all models."""
    n = len(found.model_names)
    if n < FEW:
        places, stress = scaled(distance(found.cosine_similarity(), "cosine"))
        method = "classical multidimensional scaling of cosine distances"
        return places, {"method": method, "stress": stress, "neighbours_kept": None}
    if n <= EXACT:
        tsne = TSNE(perplexity=2, random_state=SEED, metric="precomputed", init="random")
        places = tsne.fit_transform(distance(found.cosine_similarity(), "cosine"))
        method = "t-SNE of cosine distances, perplexity 2"
    else:
        components = principal_components(found)
        start = components[:, :2] / components[:, 0].std() * 1e-4
        tsne = TSNE(perplexity=PERPLEXITY, random_state=SEED, init=start, n_jobs=1, angle=ANGLE,
                    max_iter=STEPS)  # fmt: skip
        places = tsne.fit_transform(components)
        method = (
            f"t-SNE (Barnes-Hut) of {components.shape[1]} principal components of the unit vectors, "
            f"perplexity {PERPLEXITY}"
        )
    kept = neighbours_kept(found, np.asarray(places))
    return np.asarray(places), {"method": method, "stress": None, "neighbours_kept": kept}


def scaled(distances: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], float]:
    """Classical multidimensional scaling, at the scale that fits best, and its stress.

    :param distances: (n, n). :returns: places (n, 2) float64 in units of the distances, and Kruskal's
        stress 1, which is 0 where all distances on the map are those that they should be.
    """
    distances = np.where(distances < ROUNDING, 0.0, distances)
    with np.errstate(invalid="ignore"):  # points on a line have no second dimension
        found = ClassicalMDS(2, metric="precomputed").fit_transform(distances)
    places = np.nan_to_num(found)
    wanted, mapped = squareform(distances, checks=False), pdist(places)
    if not wanted.any():
        return np.zeros_like(places), 0.0
    scale = float(wanted @ mapped / (mapped @ mapped))
    error = np.square(wanted - scale * mapped).sum() / np.square(wanted).sum()
    return scale * places, float(np.sqrt(error))


def neighbours_kept(found: Embeddings, places: np.ndarray[Any, Any]) -> float:
    """Share of the nearest models in a space that are among the nearest on a map.

    Of all models up to `ASKED`, else of as many at even distances in the order of the names.
    """
    n = len(places)
    asked = np.unique(np.linspace(0, n - 1, min(n, ASKED)).astype(int))
    if found.similarity is not None:
        cosines = np.array(found.similarity[asked])
    else:
        assert found.embeddings is not None
        unit = single_precision(found.embeddings, found.model_names)
        cosines = unit[asked] @ unit.T
    cosines[np.arange(len(asked)), asked] = -np.inf
    nearest = np.argpartition(-cosines, NEAREST, axis=1)[:, :NEAREST]
    on_map = NearestNeighbors(n_neighbors=NEAREST + 1).fit(places).kneighbors(
        places[asked], return_distance=False
    )  # fmt: skip
    same = [np.intersect1d(a, b[b != i][:NEAREST]).size
            for i, a, b in zip(asked, nearest, on_map, strict=True)]  # fmt: skip
    return float(np.sum(same) / (NEAREST * len(asked)))


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
