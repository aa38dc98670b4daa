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
from atlas.kept import NOTHING, Kept
from atlas.networks.named_weights import NamedWeights, incomparable, matrix_changes
from atlas.progress import Progress, say
from atlas.spaces.embeddings import cosine_of_gram, cosine_similarity
from atlas.spaces.sketches import DIMENSIONS, sketched
from atlas.spaces.space import Found, Nothing, Similarity, Vectors, kept_vectors, space
from atlas.weights.matrix_changes import Change, Dense, LowRank
from atlas.weights.row_blocks import row_blocks
from atlas.weights.tensors import Weights, write_safetensors

Array = np.ndarray[Any, Any]
Model = tuple[Sequence[Path], NamedWeights]  # its files, and its base
EXACT = 500  # models of which all pairs are compared exactly; their number grows with its square
SAMPLE = 64  # models of a larger pool that are compared exactly, too
STACKED = 1 << 24  # elements of factors that are multiplied at a time, in float64


@space
def embed(
    *, bases: list[Path], weights: list[Path], models: list[dict[str, Any]], kept: Kept = NOTHING
) -> Found:
    """Exact similarities in float64; of more than 500 models sketches, (n, 4096) float32.

    A sketch keeps inner products in the mean (:mod:`atlas.spaces.sketches`); by how much its cosines are
    off is measured on a sample of the models, and logged.

    :param bases: files of all bases, which have tensors of the same names and shapes.
    :param kept: models that have a sketch already.
    """
    files = by_folder(weights)
    stores = {base: NamedWeights(found) for base, found in by_folder(bases).items()}
    if reason := incomparable(stores, files, models):
        return Nothing(reason)
    of = {model["name"]: (files[model["name"]], stores[model["base"]]) for model in models}
    if len(models) > EXACT:
        return _sketches(of, kept_vectors(kept))
    kept.drop()
    dimension = stores[models[0]["base"]].elements
    return Similarity(cosine_of_gram(inner_products(of), list(of)), dimension)


def inner_products(models: Mapping[str, Model]) -> Array:
    """<dW, dW'> of all pairs of models, (n, n) float64.

    Factors of LoRA stay in memory; what PEFT merges, in a scratch file.
    """
    gram = np.zeros((len(models), len(models)))
    changed: dict[str, dict[int, Change]] = defaultdict(dict)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="atlas-weights-")))
        progress = Progress(len(models), "model")
        for place, (name, (files, base)) in enumerate(models.items()):
            for tensor, change in _kept(files, base, folder / f"{place}.safetensors"):
                changed[tensor][place] = change
            progress.step(name)
        progress = Progress(len(changed), "tensor")
        for changes in changed.values():
            add_products(gram, changes)
            progress.step()
    return gram


def _kept(files: Sequence[Path], base: NamedWeights, scratch: Path) -> list[tuple[str, Change]]:
    """Changes of a model, none of which holds a whole matrix in memory."""
    found = list(matrix_changes(files, base))
    held = {n: c.values for n, c in found if isinstance(c, Dense) and c.held}
    if not held:
        return found
    held = {name: values for name, values in held.items() if values.any()}
    write_safetensors(scratch, held, {})
    stored = Weights([scratch]) if held else {}
    return [(name, Dense(tuple(held[name].shape), lambda n=name: stored[n])) for name in held]


def add_products(gram: Array, changes: Mapping[int, Change]) -> None:
    """Add the inner products of the changes of one tensor.

    :param changes: place of a model -> its change.
    """
    low = {i: c for i, c in changes.items() if isinstance(c, LowRank)}
    dense = {i: c for i, c in changes.items() if isinstance(c, Dense)}
    groups = _groups(low)
    for some, others in combinations_with_replacement(groups, 2):
        found = _of_factors([low[i] for i in some], [low[i] for i in others])
        gram[np.ix_(some, others)] += found
        if some is not others:
            gram[np.ix_(others, some)] += found.T
    for i, one in dense.items():
        values = one.values
        products = {j: _of_dense(values, two.values if j < i else values)
                    for j, two in dense.items() if j <= i}  # fmt: skip
        products |= {j: _of_both(values, two) for j, two in low.items()}
        for j, product in products.items():
            gram[i, j] += product
            gram[j, i] += product if i != j else 0.0


def _groups(low: Mapping[int, LowRank]) -> list[list[int]]:
    """Models whose factors are multiplied as one matrix."""
    groups: list[list[int]] = []
    size = STACKED
    for i, change in low.items():
        own = change.module.a.numel() + change.module.b.numel()
        if size + own > STACKED:
            groups.append([])
            size = 0
        groups[-1].append(i)
        size += own
    return groups


def _of_factors(one: Sequence[LowRank], two: Sequence[LowRank]) -> Array:
    """Inner products (n, m) float64 of two lists of changes of one matrix."""

    def stacked(changes: Sequence[LowRank]) -> tuple[torch.Tensor, torch.Tensor, Array]:
        a = torch.cat([c.module.a for c in changes]).double()
        b = torch.cat([c.module.b for c in changes], dim=1).double()
        starts = np.cumsum([0, *(len(c.module.a) for c in changes)])[:-1]
        return a, b, starts

    (a, b, rows), (other_a, other_b, columns) = stacked(one), stacked(two)
    products = ((b.mT @ other_b) * (a @ other_a.mT)).numpy()
    products = np.add.reduceat(np.add.reduceat(products, rows, axis=0), columns, axis=1)
    scales = [np.array([c.module.scale for c in changes]) for changes in (one, two)]
    return np.asarray(products * np.outer(*scales))


def _of_both(values: torch.Tensor, change: LowRank) -> float:
    """<dW, s B A> = s sum((B' dW) * A), in float64, block by block of the rows of dW."""
    a, b = change.module.a.double(), change.module.b.double()
    total = 0.0
    for first, after in row_blocks(values.shape):
        total += float(((b[first:after].mT @ values[first:after].double()) * a).sum())
    return total * change.module.scale


def _of_dense(one: torch.Tensor, two: torch.Tensor) -> float:
    """Inner product in float64, of the rows that both have, block by block."""
    total = 0.0
    for first, after in row_blocks(min(one.shape, two.shape)):
        a, b = (t[first:after].reshape(-1).double() for t in (one, two))
        total += float(a @ b)
    return total


def _sketches(models: Mapping[str, Model], rows: Mapping[str, Vectors]) -> Vectors:
    """:param rows: sketches that are there already."""
    names = list(models)
    found = np.empty((len(names), DIMENSIONS), dtype=np.float32)
    progress = Progress(len(names) - len(rows), "model")
    for place, (name, (files, base)) in enumerate(models.items()):
        if name in rows:
            found[place] = rows[name]
        else:
            found[place] = sketched(matrix_changes(files, base))
            progress.step(name)
    step = -(-len(names) // SAMPLE)
    some = names[::step]
    error = sketch_error({name: models[name] for name in some}, found[::step])
    say(f"cosines of sketches are off by {error:.4f} (root mean square, of {len(some)} models)")
    return found


def sketch_error(models: Mapping[str, Model], sketches: Array) -> float:
    """Root mean square of what the cosines of sketches are off, over all pairs of models."""
    names = list(models)
    exact = cosine_of_gram(inner_products(models), names)
    pairs = np.triu_indices(len(names), 1)
    off = (cosine_similarity(sketches, names) - exact)[pairs]
    return float(np.sqrt(np.mean(off**2)))
