"""Embeddings of a pool in one space, as they are stored.

embeddings.npz holds ``model_names``, ``domains``, ``base_model`` (one per model), ``space``,
``dimension`` (0 where the models have no common one) and either ``embeddings`` (n, dim) float32,
or ``similarity`` (n, n) float64 where the vectors would be huge, or a ``reason`` why the space
has no embedding of this pool.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import AtlasError
from atlas.spaces.large_pools import ALL_PAIRS

BLOCK = 4096  # rows that are held in float64 at a time


@dataclass(frozen=True)
class Embeddings:
    """What embeddings.npz holds."""

    space: str
    model_names: list[str]
    domains: list[str]
    base_model: list[str]
    dimension: int
    embeddings: np.ndarray[Any, Any] | None = None
    similarity: np.ndarray[Any, Any] | None = None
    reason: str = ""

    @property
    def all_pairs(self) -> bool:
        """Whether the similarities of all pairs may be looked at."""
        return len(self.model_names) <= ALL_PAIRS

    def cosine_similarity(self) -> np.ndarray[Any, Any]:
        """Cosine similarities (n, n) float64.

        :raises AtlasError: where an embedding is zero, and so has no direction.
        """
        if self.similarity is not None:
            return self.similarity
        assert self.embeddings is not None
        return cosine_similarity(self.embeddings, self.model_names)


def cosine(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Cosine of two vectors, in float64."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def unit_vectors(vectors: np.ndarray[Any, Any], names: Sequence[str]) -> np.ndarray[Any, Any]:
    """The rows at length 1, float64; an AtlasError where one is zero."""
    rows = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1)
    _refuse_zero(norms, names)
    return np.asarray(rows / norms[:, None])


def unit_blocks(
    vectors: np.ndarray[Any, Any], names: Sequence[str]
) -> Iterator[tuple[slice, np.ndarray[Any, Any]]]:
    """Some rows after others, as :func:`unit_vectors` gives them, with their place."""
    for start in range(0, len(vectors), BLOCK):
        place = slice(start, min(start + BLOCK, len(vectors)))
        yield place, unit_vectors(vectors[place], names[place])


def single_precision(vectors: np.ndarray[Any, Any], names: Sequence[str]) -> np.ndarray[Any, Any]:
    """The rows at length 1, float32, of which as much is held in float64 as a block has."""
    found = np.empty(vectors.shape, dtype=np.float32)
    for place, unit in unit_blocks(vectors, names):
        found[place] = unit
    return found


def cosine_similarity(vectors: np.ndarray[Any, Any], names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Cosine similarities of the rows, float64, with a diagonal of exactly 1."""
    unit = unit_vectors(vectors, names)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, 1.0)
    return np.asarray((similarity + similarity.T) / 2)


def cosine_of_gram(gram: np.ndarray[Any, Any], names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Cosine similarities from inner products (n, n)."""
    norms = np.sqrt(np.diag(gram))
    _refuse_zero(norms, names)
    similarity = gram / norms[:, None] / norms[None, :]
    np.fill_diagonal(similarity, 1.0)
    return np.asarray((similarity + similarity.T) / 2)


def _refuse_zero(norms: np.ndarray[Any, Any], names: Sequence[str]) -> None:
    zero = np.flatnonzero(norms == 0)
    if zero.size:
        raise AtlasError(
            f"{', '.join(names[i] for i in zero[:20])}: the embedding is zero (the model does not differ "
            "from its base), so it has no direction to compare; name it in excluded of the pool."
        )


def write_embeddings(path: Path, found: Embeddings) -> None:
    """Write embeddings.npz; an AtlasError where a value is NaN or Inf."""
    told = ("model_names", "domains", "base_model", "space", "dimension")
    arrays: dict[str, Any] = {key: np.array(getattr(found, key)) for key in told}
    if found.embeddings is not None:
        arrays["embeddings"] = np.asarray(found.embeddings, dtype=np.float32)
    elif found.similarity is not None:
        arrays["similarity"] = np.asarray(found.similarity, dtype=np.float64)
    else:
        arrays["reason"] = np.array(found.reason)
    for key in ("embeddings", "similarity"):
        if key in arrays and not np.isfinite(arrays[key]).all():
            row = np.flatnonzero(~np.isfinite(arrays[key]).all(axis=1))[0]
            raise AtlasError(f"{found.model_names[row]}: its embedding has NaN or Inf.")
    with path.open("wb") as handle:
        np.savez(handle, **arrays)


def read_embeddings(path: Path) -> Embeddings:
    """Read embeddings.npz; pickled arrays are refused."""
    with np.load(path, allow_pickle=False) as data:
        found = {key: data[key].tolist() for key in data if key not in ("embeddings", "similarity")}
        found |= {key: data[key] for key in ("embeddings", "similarity") if key in data}
        return Embeddings(**found)
