"""Blocks of the navigator's page: packed by gzip, written in base64.

A block of a space is a row of little-endian arrays over its models, in the order of their names; each
array stands as planes, all first bytes before all second ones, which packs better:

* x, y: uint16, from the left (lower) end of the map to the right (upper) one;
* silhouette: int16, in ten-thousandths, -32768 where there is none;
* neighbours: uint16 (uint32 in pools of more than 65,536), one row of ``ranks`` per model, as the way
  from the model to its neighbour, modulo the size of the type: neighbours are often near by name;
* similarities: int16, in ten-thousandths; that of the first neighbour, then how much less each of
  the others has than the one before;
* pairs, of a small pool: int16, the similarities of all models, row by row of the upper triangle.
"""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

STEP = 10_000  # silhouettes and similarities are kept to four decimals
NONE = -32768
SMALL = 65_536  # pools up to here have all ranks of neighbours.csv on their page
ALL_SIMILAR = 1000  # models of the largest pool whose page may have the similarities of all
RANKS_OF_LARGE = 5  # nearest models that the page of a larger pool has, for its size


def pack(data: bytes) -> str:
    """Gzip without a time, as base64."""
    return base64.b64encode(gzip.compress(data, compresslevel=9, mtime=0)).decode()


def json_block(value: Any) -> str:
    """A value as JSON, packed."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return pack(text.encode())


def space_block(
    places: np.ndarray[Any, Any] | None,
    ranked: Mapping[str, Any] | None,
    pairs: np.ndarray[Any, Any] | None = None,
) -> tuple[str, dict[str, Any]]:
    """One space, packed, and what its block holds.

    :param places: places on the map (n, 2), or None where there is no map.
    :param ranked: silhouettes and nearest models, or None where there are no embeddings.
    :param pairs: similarities of all models (n, n), or None where only those of the nearest are told.
    :returns: the block; ``map`` (whether it has places), ``ranks`` (neighbours per model) and ``all``
        (whether it has all similarities).
    """
    parts: list[np.ndarray[Any, Any]] = []
    if places is not None:
        low, high = places.min(axis=0), places.max(axis=0)
        # Both axes have one scale: distances on the map are what map.csv has.
        span = max(float((high - low).max()), 1e-9)
        grid = (places - (low + high) / 2) / span + 0.5
        parts += [np.rint(grid.T * 65535).astype("<u2")]
    ranks = 0
    if ranked is not None:
        scores = [NONE if s is None else round(s * STEP) for s in ranked["silhouettes"]]
        parts.append(np.array(scores, dtype="<i2"))
        small = len(scores) <= SMALL
        ranks = min(len(ranked["nearest"][0]), 10**9 if small else RANKS_OF_LARGE)
        nearest = np.array([row[:ranks] for row in ranked["nearest"]])
        index = nearest[:, :, 0].astype(np.int64) - np.arange(len(scores))[:, None]
        parts.append(index.astype("<u2" if small else "<u4"))
        near = np.rint(nearest[:, :, 1] * STEP).astype(np.int64)
        less = np.concatenate([near[:, :1], near[:, :-1] - near[:, 1:]], axis=1)
        parts.append(less.astype("<i2"))
    if pairs is not None:
        upper = pairs[np.triu_indices(len(pairs), k=1)]
        parts.append(np.rint(upper * STEP).astype("<i2"))
    data = b"".join(_planes(part) for part in parts)
    return pack(data), {"map": places is not None, "ranks": ranks, "all": pairs is not None}


def _planes(values: np.ndarray[Any, Any]) -> bytes:
    """All first bytes of the values, all second ones, and so on."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.view(np.uint8).reshape(-1, flat.itemsize).T.tobytes()
