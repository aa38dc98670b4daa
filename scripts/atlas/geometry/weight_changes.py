"""What training changed in the weights of a base, matrix by matrix.

A weight changed where its value in bfloat16 differs from the base's by more than a share eta of the
larger of the two, eta = 1e-3. That is the rule of H. Zhu et al. (arXiv 2511.08567), who follow
S. Mukherjee et al. (arXiv 2505.11711); since eta is below half of the spacing of bfloat16, it is
inequality of the stored values. Adapters are merged in float32 first.
"""

from collections.abc import Iterator, Sequence
from math import hypot
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.files import read_csv, write_csv
from atlas.geometry.principal_directions import (
    energy_by_chance,
    principal,
    principal_energy,
    principal_weights,
    turned,
)
from atlas.networks.named_weights import NamedWeights, changes
from atlas.progress import Progress
from atlas.weights import tensor_kinds
from atlas.weights.row_blocks import row_blocks, rows_and_columns
from atlas.weights.tensors import check_finite

ETA = 1e-3
PRINCIPAL_WEIGHTS = 0.1  # share of the weights of a matrix that are called principal
ANGLES = ("left_angle_mean", "left_angle_max", "right_angle_mean", "right_angle_max")
TURNED = (*(f"{angle}_degrees" for angle in ANGLES), "spectral_drift")
INSIDE = ("principal_energy", "principal_energy_by_chance", "principal_weights",
          "principal_weights_by_chance")  # fmt: skip
COUNTS = ("weights", "changed")
NORMS = ("base_norm", "change_norm")
COLUMNS = ("model", "scope", "tensor", "module", "layer", *COUNTS, "changed_share", *NORMS,
           "relative_change", "matrices", "dimensions", *TURNED, *INSIDE)  # fmt: skip
TENSOR, MODULE, MODEL = "tensor", "module", "model"


def measure_weights(*, base: list[Path], model: list[Path], dimensions: int, weights: Path) -> None:
    """Measure what a model changed: each tensor, each kind of module, and the whole model.

    A row of a tensor has its number of weights and how many changed, Frobenius norms of base and
    change, and for matrices of the layers (embeddings are none) what became of their `dimensions`
    leading singular directions; a row of a module or of the model has sums of counts, norms of all
    together, and means over matrices. ``principal_weights`` is the share of the changed weights that
    are principal, ``..._by_chance`` what a change at random places or in random directions would
    have. Where nothing changed, there is no place of the change: the four are empty.

    :param dimensions: leading singular directions of a matrix.
    :raises AtlasError: where the model does not fit the base, or changes no weights.
    """
    name, store = model[0].parent.name, NamedWeights(base)
    found: dict[str, dict[str, Any]] = {}
    progress = Progress(len(store), "tensor")

    def measure(tensor: str, delta: torch.Tensor | None) -> None:
        found[tensor] = tensor_row(tensor, store[tensor], delta, dimensions)
        progress.step(tensor)

    for tensor, delta in changes(model, store):
        check_finite({tensor: delta}, name)
        measure(tensor, delta if delta.any() else None)
    for tensor in store:
        if tensor not in found:
            measure(tensor, None)
    rows = [found[tensor] for tensor in store]
    write_csv(weights, COLUMNS, [
        dict.fromkeys(COLUMNS) | {"model": name} | row for row in (*rows, *_summed(rows))
    ])  # fmt: skip


def comparison_weights(*, measured: list[Path], weights: Path) -> None:
    """Join the measurements of all models of a comparison, as they are."""
    write_csv(weights, COLUMNS, [row for file in measured for row in read_csv(file)])


def changed(weight: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """Which weights of a tensor changed beyond rounding, bool; both float32, of the same shape."""
    before, after = weight.bfloat16().float(), (weight + delta).bfloat16().float()
    return (after - before).abs() > ETA * torch.maximum(before.abs(), after.abs())


def tensor_row(
    name: str, weight: torch.Tensor, delta: torch.Tensor | None, dimensions: int
) -> dict[str, Any]:
    """Measure one tensor.

    :param weight: as the base stores it. :param delta: its change, float32, not zero, where it has
        one; of a vocabulary that grew or shrank, the first rows.
    """
    matrix = weight.dim() == 2 and tensor_kinds.kind(name, weight.shape) == "matrix"
    layer = tensor_kinds.layer(name).removeprefix("layer ")
    row: dict[str, Any] = {
        "scope": TENSOR, "tensor": name, "module": _module(name),
        "layer": layer if layer.isdigit() else "", "weights": weight.numel(), "changed": 0,
        "base_norm": _norm(weight), "change_norm": 0.0, "matrices": int(matrix),
    }  # fmt: skip
    which = np.zeros((0, 0), dtype=bool)
    if delta is not None:
        shape = rows_and_columns(delta.shape)
        old, new = weight[: len(delta)].reshape(shape), delta.reshape(shape)
        blocks = row_blocks(delta.shape)
        which = torch.cat([changed(old[a:b].float(), new[a:b]) for a, b in blocks]).numpy()
        row |= {"changed": int(which.sum()), "change_norm": _norm(delta)}
    if matrix:
        row |= _directions(weight.double().numpy(), delta, which, dimensions)
    return _shares(row)


def _directions(
    weight: np.ndarray[Any, Any], delta: torch.Tensor | None, which: np.ndarray[Any, Any],
    dimensions: int,
) -> dict[str, Any]:  # fmt: skip
    if delta is None:
        return {"dimensions": min(dimensions, *weight.shape), **dict.fromkeys(TURNED, 0.0)}
    update = delta.double().numpy()
    after = weight + update
    if not weight.any() or not after.any():  # a matrix of zeros has no leading directions
        return {"dimensions": 0}
    base = principal(weight, dimensions)
    found = turned(base, principal(after, dimensions))
    values: dict[str, Any] = {"dimensions": found.dimensions, "spectral_drift": found.drift}
    for side, angles in (("left", found.left), ("right", found.right)):
        values |= {f"{side}_angle_mean_degrees": float(angles.mean()),
                   f"{side}_angle_max_degrees": float(angles.max())}  # fmt: skip
    values["principal_energy"] = principal_energy(update, base)
    values["principal_energy_by_chance"] = energy_by_chance(base)
    if which.any():
        mask = principal_weights(base, PRINCIPAL_WEIGHTS)
        values["principal_weights"] = float(mask[which].mean())
        values["principal_weights_by_chance"] = float(mask.mean())
    return values


def _summed(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row per kind of module, in the order of the names, and one of the whole model."""
    groups = {module: [row for row in rows if row["module"] == module]
              for module in sorted({row["module"] for row in rows})}  # fmt: skip
    for scope, module, of in (*((MODULE, *group) for group in groups.items()), (MODEL, "", rows)):
        row: dict[str, Any] = {"scope": scope, "module": module}
        row |= {key: sum(one[key] for one in of) for key in (*COUNTS, "matrices")}
        row |= {key: hypot(*(one[key] for one in of)) for key in NORMS}
        for key in ("dimensions", *TURNED, *INSIDE):
            values = [one[key] for one in of if one.get(key) is not None]
            row[key] = float(np.mean(values)) if values else None
        yield _shares(row)


def _shares(row: dict[str, Any]) -> dict[str, Any]:
    relative = row["change_norm"] / row["base_norm"] if row["base_norm"] else None
    return row | {"changed_share": row["changed"] / row["weights"], "relative_change": relative}


def _norm(tensor: torch.Tensor) -> float:
    """Frobenius norm, summed in float64 block by block."""
    matrix = tensor.reshape(rows_and_columns(tensor.shape))
    return hypot(*(float(torch.linalg.vector_norm(matrix[a:b], dtype=torch.float64))
                   for a, b in row_blocks(tensor.shape)))  # fmt: skip


def _module(name: str) -> str:
    """The module that a tensor is of: q_proj, embed_tokens."""
    return name.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]
