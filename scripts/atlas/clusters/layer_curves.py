"""How the silhouette of delta activations depends on the layer and on the number of probes."""

from collections.abc import Sequence
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import silhouette_samples

from atlas.activations.feature_files import FeatureShards
from atlas.clusters.significance import SEED, interval
from atlas.clusters.silhouettes import distance, no_silhouette
from atlas.files import write_csv
from atlas.spaces.embeddings import cosine_similarity
from atlas.spaces.space import different_widths

Array = np.ndarray[Any, Any]
CURVE_COLUMNS = ("curve", "value", "space", "silhouette", "low", "high", "reason")
SPACE = "delta_activations"
SUBSETS = 40


def write_layer_curves(*, features: list[Path], models: list[dict[str, Any]], curves: Path) -> None:
    """Write the rows of :func:`layer_curves` as a tidy CSV."""
    write_csv(curves, CURVE_COLUMNS, layer_curves(features=features, models=models))


def layer_curves(*, features: list[Path], models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Silhouettes of a pool by domain (cosine), per layer and per number of probes.

    Columns: curve (layer, probes), value (layer from 0, the embeddings, to the last after the
    final norm; or number of probes), space, silhouette, low and high (95 % interval over models), reason
    (why there is none). Models of
    different widths have neither curve, and models of different depths no curve by layer: one
    row without value has the reason. One layer of all models is in memory at a time.

    :param features: the shards of the pool.
    :param models: name, base and domain of each model.
    :raises AtlasError: where a model is missing, or two shards disagree on a base.
    """
    names, domains = [m["name"] for m in models], [m["domain"] for m in models]
    with FeatureShards(features) as shards:
        shapes = [shards.shape(model, "layers") for model in models]
        depths = sorted({shape[0] for shape in shapes})
        widths = {shape[2] for shape in shapes}
        if len(widths) > 1:
            reason = different_widths(widths, "activations")
            return [_row("layer", None, None, reason), _row("probes", None, None, reason)]

        def at(layers: Sequence[int]) -> Array:
            pairs = zip(models, layers, strict=True)
            return np.stack([shards.delta(model, "layers", layer) for model, layer in pairs])

        last = at([shape[0] - 1 for shape in shapes])
        if len(depths) > 1:
            layers = " and ".join(str(depth - 1) for depth in depths)
            rows = [_row("layer", None, None, f"the models have {layers} layers")]
        else:
            rows = []
            for layer in range(depths[0]):
                means = at([layer] * len(models)).mean(axis=1)
                rows.append(_row("layer", layer, *silhouettes(means, names, domains)))
    return rows + probe_curve(last, names, domains)


def probe_curve(
    deltas: Array, names: Sequence[str], domains: Sequence[str]
) -> list[dict[str, Any]]:
    """Silhouette per number of probes: the mean over subsets of so many, the first 40 in order.

    :param deltas: activations (n, n_probes, d) of models minus bases.
    """
    probes = deltas.shape[1]
    rows = []
    for count in range(1, probes + 1):
        subsets = islice(combinations(range(probes), count), SUBSETS)
        found = [silhouettes(deltas[:, list(s)].mean(axis=1), names, domains) for s in subsets]
        reason = next((reason for _, reason in found if reason), "")
        scores = [values for values, _ in found if values is not None]
        rows.append(_row("probes", count, None if reason else np.mean(scores, axis=0), reason))
    return rows


def silhouettes(
    vectors: Array, names: Sequence[str], domains: Sequence[str]
) -> tuple[Array | None, str]:
    """Silhouettes (n,) by domain of vectors (n, d), distance 1 - cosine; or None and why there is none.

    A zero vector is a reason, and not an error as elsewhere: no adapter of attention moves the
    embeddings, so that at layer 0 nothing differs from its base.
    """
    zero = np.flatnonzero(np.linalg.norm(vectors, axis=1) == 0)
    if zero.size:
        return None, f"{names[zero[0]]} does not differ from its base here"
    if reason := no_silhouette(domains):
        return None, reason
    matrix = distance(cosine_similarity(vectors, names), "cosine")
    return silhouette_samples(matrix, list(domains), metric="precomputed"), ""


def _row(curve: str, value: int | None, scores: Array | None, reason: str) -> dict[str, Any]:
    found: tuple[float | None, ...] = (None, None, None)
    if scores is not None:
        found = (float(scores.mean()), *interval(scores, np.random.default_rng(SEED)))
    return dict(zip(CURVE_COLUMNS, (curve, value, SPACE, *found, reason), strict=True))
