"""Weight deltas: dW, all changed weights of the base as one long vector, compared by cosine.

Unlike the tensors of an adapter, dW does not hang on the basis of its factors, nor on its rank or kind. Of
LoRA it is never formed: <s1 B1 A1, s2 B2 A2> = s1 s2 sum((B1' B2) * (A1 A2')), B1' the transpose.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations_with_replacement
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from atlas.files import by_folder
from atlas.networks.named_weights import NamedWeights, matrix_changes, unchanged
from atlas.progress import Progress, say
from atlas.spaces.embeddings import cosine_of_gram, cosine_similarity
from atlas.spaces.sketches import Sketch
from atlas.spaces.space import Found, Nothing, Similarity, space
from atlas.weights.matrix_changes import Change, LowRank
from atlas.weights.row_blocks import row_blocks
from atlas.weights.tensors import Weights, write_safetensors

Array = np.ndarray[Any, Any]
EXACT = 500  # models of which all pairs are compared exactly: a minute and more above it
SAMPLE = 64  # models of a larger pool that are compared exactly, too
BLOCK = 1 << 22  # elements of a block of rows


@space
def embed(*, bases: list[Path], weights: list[Path], models: list[dict[str, Any]]) -> Found:
    """Exact similarities, in float64; of more than :data:`EXACT` models, sketches (n, 4096) float32.

    A sketch keeps inner products in the mean (:mod:`atlas.spaces.sketches`); by how much its cosines are
    off is measured on a sample of the models and logged.

    :param bases: files of all bases, which have tensors of the same names and shapes.
    """
    files, base_files = by_folder(weights), by_folder(bases)
    stores = {base: NamedWeights(found) for base, found in base_files.items()}
    layouts = {b: {name: store.shape(name) for name in store} for b, store in stores.items()}
    first = models[0]["base"]
    for model in models:
        if layouts[model["base"]] != layouts[first]:
            return Nothing(f"{model['base']} and {first} have weights of different shapes")
        if reason := unchanged(files[model["name"]]):
            return Nothing(f"{model['name']}: {reason}")
    of = {model["name"]: (files[model["name"]], stores[model["base"]]) for model in models}
    if len(models) > EXACT:
        return _sketched(of)
    dimension = sum(int(np.prod(shape)) for shape in layouts[first].values())
    return Similarity(cosine_of_gram(inner_products(of), list(of)), dimension)


Model = tuple[Sequence[Path], NamedWeights]


def inner_products(models: Mapping[str, Model]) -> Array:
    """<dW, dW'> of all pairs of models, (n, n) float64.

    :param models: name -> its files, and its base.
    """
    gram = np.zeros((len(models), len(models)))
    changed: dict[str, dict[int, LowRank | _Stored]] = defaultdict(dict)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="atlas-weights-")))
        progress = Progress(len(models), "model")
        for place, (name, (files, base)) in enumerate(models.items()):
            for tensor, change in _held(files, base, folder / f"{place}.safetensors"):
                changed[tensor][place] = change
            progress.step(name)
        progress = Progress(len(changed), "tensor")
        for changes in changed.values():
            _add_pairs(gram, changes)
            progress.step()
    return gram


class _Stored:
    """A change that is no product of two factors, on the disk."""

    def __init__(self, weights: Weights, name: str) -> None:
        self._weights, self._name = weights, name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._weights.shape(self._name)

    def rows(self, first: int, after: int) -> torch.Tensor:
        """Some rows, (rows, columns) float64."""
        values = self._weights[self._name]
        return values.reshape(-1, *values.shape[-1:] if values.dim() > 1 else (1,))[
            first:after
        ].double()


def _held(
    files: Sequence[Path], base: NamedWeights, scratch: Path
) -> list[tuple[str, LowRank | _Stored]]:
    """Changes of a model: factors in memory, and all else in a scratch file."""
    found = list(matrix_changes(files, base))
    dense = {name: change.values for name, change in found if not isinstance(change, LowRank)}
    if dense:
        write_safetensors(scratch, dense, {})
    stored = Weights([scratch]) if dense else {}
    return [
        (name, change if isinstance(change, LowRank) else _Stored(stored, name))
        for name, change in found
    ]
