"""What an embedding space is: the protocol of every space, written down once.

A space is a file of this room, named as the space, with a function ``embed`` that :func:`space`
marks, and a rule that calls it. The function takes, as keyword arguments, ``models`` (name, base and
domain of each model of the pool, in the order of the rows), what its rule reads of the pool, and
settings where it has any:

* ``activations``: activations.h5 of the pool; ``features``: the features of its shards;
* ``weights`` and ``bases``: files of all its models and of their bases;
* ``sentences`` and ``encoder``: what its models wrote, shard by shard, and files of an encoder.

A space that embeds each model by itself may take ``kept``, too, and compute the others only
(:func:`kept_vectors`); the embeddings of its rule are then flagged ``update``.

It returns one of :data:`Found`: a vector for each model, their similarities where the vectors would
be huge, or why the pool has nothing in this space. That is stored as embeddings.npz.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from atlas.activations.feature_files import FeatureShards
from atlas.kept import Kept
from atlas.spaces.embeddings import Embeddings, read_embeddings, write_embeddings

Vectors = np.ndarray[Any, Any]  # (n, dim), written as float32


@dataclass(frozen=True)
class Similarity:
    """Cosines of all pairs of models, (n, n) float64, and the dimension of the vectors."""

    cosines: np.ndarray[Any, Any]
    dimension: int


@dataclass(frozen=True)
class Nothing:
    """Why a pool has no embedding in a space: stored with the dimension 0."""

    reason: str


Found = Vectors | Similarity | Nothing


class Space(Protocol):
    """What a rule calls: it embeds a pool and writes embeddings.npz."""

    def __call__(self, *, models: list[dict[str, Any]], embeddings: Path, **read: Any) -> None:
        """Embed a pool.

        :raises AtlasError: where a model has no embedding and should have one.
        """


def space(embed: Callable[..., Found]) -> Space:
    """A space, named as its module, whose function finds what is written."""
    name = embed.__module__.rpartition(".")[2]
    signature = inspect.signature(embed)
    path = inspect.Parameter("embeddings", inspect.Parameter.KEYWORD_ONLY, annotation="Path")

    @functools.wraps(embed)
    def write(*, models: list[dict[str, Any]], embeddings: Path, **read: Any) -> None:
        result: dict[str, Any]
        match embed(models=models, **read):
            case Nothing(reason):
                result = {"dimension": 0, "reason": reason}
            case Similarity(cosines, dimension):
                result = {"dimension": dimension, "similarity": cosines}
            case vectors:
                result = {"dimension": vectors.shape[1], "embeddings": vectors}
        names, domains, bases = ([m[key] for m in models] for key in ("name", "domain", "base"))
        write_embeddings(embeddings, Embeddings(name, names, domains, bases, **result))

    # What a caller gives: all that the function takes, and where the embeddings go.
    parameters = [*signature.parameters.values(), path]
    write.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return write


def stacked(rows: Iterable[np.ndarray[Any, Any]], count: int, what: str) -> Vectors | Nothing:
    """The vectors of `count` models, which pass by once, as (n, dim) float32.

    :param what: what the vectors are made of, for the reason where they differ in width.
    """
    vectors = np.empty((count, 0), dtype=np.float32)
    widths: set[int] = set()
    for place, row in enumerate(rows):
        if not widths:
            vectors = np.empty((count, len(row)), dtype=np.float32)
        widths.add(len(row))
        if len(widths) == 1:
            vectors[place] = row
    return vectors if len(widths) == 1 else Nothing(different_widths(widths, what))


def kept_vectors(kept: Kept) -> dict[str, Vectors]:
    """Vectors of models that are as they were when the pool was embedded before, by name."""
    if not kept.models:
        return {}
    found = read_embeddings(kept.files["embeddings"])
    if found.embeddings is None:
        kept.drop()
        return {}
    rows = zip(found.model_names, found.embeddings, strict=True)
    return {name: row for name, row in rows if name in kept.models}


def shifts(
    features: list[Path], models: list[dict[str, Any]], feature: str, what: str
) -> Vectors | Nothing:
    """A feature of each model minus that of its base, (n, dim) float32: its mean over the probes.

    :raises AtlasError: where a model is missing, or two shards disagree on a base.
    """
    with FeatureShards(features) as shards:
        found = (shards.delta(model, feature) for model in models)
        rows = (delta.mean(axis=0) if delta.ndim > 1 else delta for delta in found)
        return stacked(rows, len(models), what)


def different_widths(widths: set[int], what: str) -> str:
    """Why models have no common dimension."""
    return f"the models have {what} of {' and '.join(map(str, sorted(widths)))} dimensions"
