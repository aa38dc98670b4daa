"""Salient mask: which weights of the base a model changes most, compared by cosine.

A mask is 1 where |dW| is among the largest `share` of all base weights. No source states the
details; this is our reading: all weights of the base count, untouched ones as 0, ties at the
threshold are in, and a weight that did not change is never salient.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.errors import AtlasError
from atlas.files import by_folder
from atlas.networks.named_weights import NamedWeights, changes, incomparable
from atlas.progress import Progress
from atlas.spaces.large_pools import ALL_PAIRS, TOO_MANY
from atlas.spaces.space import Found, Nothing, Similarity, space

Array = np.ndarray[Any, Any]


@space
def embed(
    *, bases: list[Path], weights: list[Path], models: list[dict[str, Any]], share: float
) -> Found:
    """Exact similarities of packed masks, one bit per weight that may change."""
    if len(models) > ALL_PAIRS:
        return Nothing(TOO_MANY)
    files = by_folder(weights)
    stores = {base: NamedWeights(found) for base, found in by_folder(bases).items()}
    if reason := incomparable(stores, files, models):
        return Nothing(reason)
    total = stores[models[0]["base"]].elements
    count = max(1, int(total * share + 1e-9))
    masks = []
    progress = Progress(len(models), "model")
    for model in models:
        name, base = model["name"], stores[model["base"]]
        masks.append(packed_mask(sizes_of_changes(files[name], base), count, name))
        progress.step(name)
    return Similarity(mask_similarity(masks), total)


def sizes_of_changes(
    files: Sequence[Path], base: NamedWeights
) -> Iterator[tuple[str, torch.Tensor]]:
    """|dW| of a model, tensor by tensor, float32, flat."""
    return ((name, delta.abs().reshape(-1)) for name, delta in changes(files, base))


BLOCK = 1 << 20  # values looked at together


class Largest:
    """The `count` largest of many values that pass by once, with their places, exactly.

    At most about 4 x `count` candidates are held, whatever the number of values. Ties with the
    smallest of the largest are all in; zeros never are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.limit = 0.0
        # Of each block: name and size of its matrix, places and values.
        self._found: list[tuple[str, int, Array, Array]] = []
        self._held = 0

    def add(self, name: str, values: torch.Tensor) -> None:
        """Let the values (1-d, not negative) of one matrix pass by."""
        # NumPy finds and partitions several times faster than PyTorch.
        everything = values.numpy()
        for start in range(0, everything.size, BLOCK):
            block = everything[start : start + BLOCK]
            chosen = block >= self.limit if self.limit > 0 else block > 0
            places = np.flatnonzero(chosen)
            self._found.append((name, everything.size, places + start, block[places]))
            self._held += places.size
            if self._held > 4 * self.count:
                self._shrink()

    def _shrink(self) -> None:
        if self._held <= self.count:
            return
        everything = np.concatenate([values for *_, values in self._found])
        place = everything.size - self.count
        self.limit = float(np.partition(everything, place)[place])
        for i, (name, size, places, values) in enumerate(self._found):
            kept = np.flatnonzero(values >= self.limit)
            self._found[i] = (name, size, places[kept], values[kept])
        self._held = sum(values.size for *_, values in self._found)

    def masks(self) -> dict[str, Array]:
        """Masks of the matrices that have one of the largest, one bit per value."""
        self._shrink()
        masks: dict[str, Array] = {}
        for name, size, places, _ in self._found:
            if places.size:
                mask = masks.setdefault(name, np.zeros((size + 7) // 8, dtype=np.uint8))
                np.bitwise_or.at(mask, places >> 3, (128 >> (places & 7)).astype(np.uint8))
        return masks


def packed_mask(
    parts: Iterable[tuple[str, torch.Tensor]], count: int, where: str
) -> dict[str, Array]:
    """The `count` salient weights of a model, one bit each, by matrix.

    :param parts: name and |dW| (flat) of each matrix.
    :raises AtlasError: where nothing differs from the base.
    """
    largest = Largest(count)
    for name, values in parts:
        largest.add(name, values)
    masks = largest.masks()
    if not masks:
        raise AtlasError(f"{where}: does not differ from its base, so no weight is salient.")
    return masks


def mask_similarity(masks: Sequence[dict[str, Array]]) -> Array:
    """Cosine of masks: shared ones over the geometric mean of their numbers, (n, n) float64."""
    sizes = [sum(int(np.bitwise_count(part).sum()) for part in mask.values()) for mask in masks]
    found = np.eye(len(masks))
    for (i, one), (j, two) in combinations(enumerate(masks), 2):
        both = one.keys() & two.keys()
        shared = sum(int(np.bitwise_count(one[name] & two[name]).sum()) for name in both)
        found[i, j] = found[j, i] = shared / np.sqrt(float(sizes[i]) * float(sizes[j]))
    return found
