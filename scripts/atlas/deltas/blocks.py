"""Blocks of an instruction delta: computed from two models, or read from a delta file.

Three ways of storing the delta of a tensor X, all in one safetensors file:

* dense: ``X``, in the shape of X;
* sparse: ``X.crow_indices``, ``X.col_indices``, ``X.values``: X as a matrix (all axes but the last
  are rows) in the compressed rows of ``torch.sparse_csr_tensor``;
* low rank: ``X.lora_A`` (r, columns) and ``X.lora_B`` (rows, r), whose product B A is the delta.
"""

from pathlib import Path
from typing import Any, Literal

import torch

from atlas.errors import AtlasError
from atlas.files import read_json
from atlas.weights.row_blocks import Buffers, StoredTensor, WeightStream, rows_and_columns
from atlas.weights.tensor_kinds import kind

Storage = Literal["dense", "sparse", "low_rank"]
PARTS: dict[Storage, tuple[str, ...]] = {
    "dense": ("",),
    "sparse": (".col_indices", ".crow_indices", ".values"),
    "low_rank": (".lora_A", ".lora_B"),
}


def read_description(meta: Path) -> dict[str, Any]:
    """What delta_meta.json says of a delta.

    :raises AtlasError: where something is missing that applying the delta needs.
    """
    known = read_json(meta)
    try:
        whole = (
            isinstance(known["config"], dict)
            and all(isinstance(known[role]["weights_sha256"], str) for role in ("base", "instruct"))
            and all(isinstance(known[role]["name"], str) for role in ("base", "instruct"))
            and all(isinstance(known[key], str) for key in ("name", "delta_sha256"))
            and all(entry["storage"] in PARTS and all(side >= 0 for side in entry["shape"])
                    for entry in known["tensors"].values())
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise AtlasError(f"{meta}: is not the description of a delta; make the delta again.")
    return dict(known)


def square_sum(values: torch.Tensor) -> float:
    """Sum of squares of float32 values; not finite where one of them is not."""
    flat = values.reshape(-1)
    found = float(torch.dot(flat, flat))
    if 1e-20 < found < 1e30 or (found == 0.0 and not bool(flat.any())):
        return found
    # Squares that leave the range of float32, or something that is not finite.
    wide = flat.double()
    return float(torch.dot(wide, wide))


class Difference:
    """Instruct minus base in float32, block by block.

    :raises AtlasError: where the two do not have the same tensors.
    """

    def __init__(self, base: WeightStream, instruct: WeightStream) -> None:
        self.base, self.instruct = base, instruct
        self.names = shared_tensors(base, instruct)
        self._buffers = Buffers()

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self.base.tensors[name].shape

    def block(self, name: str, first: int, after: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of the difference and of the base, (rows, columns) float32, valid until the next."""
        base = self._buffers.single("base", self.base.rows(name, first, after))
        delta = self._buffers.single("delta", self.instruct.rows(name, first, after))
        return delta.sub_(base), base

    def blame(self, name: str, first: int, after: int) -> AtlasError:
        """Why a difference is not finite."""
        for stream in (self.base, self.instruct):
            if not bool(torch.isfinite(stream.rows(name, first, after)).all()):
                return AtlasError(
                    f"{stream.what}: the tensor {name} has NaN or Inf; mend or replace these weights."
                )
        return AtlasError(
            f"{self.instruct.what} minus {self.base.what}: the difference of {name} is beyond the "
            "range of float32; one of the two has broken weights."
        )


def shared_tensors(base: WeightStream, instruct: WeightStream) -> list[str]:
    """Names of the tensors of both, without stored copies of tied embeddings.

    :raises AtlasError: for a tensor that only one of them has, and for shapes that differ.
    """
    ours, theirs = dict(base.tensors), dict(instruct.tensors)
    copies = base.tied_copies(), instruct.tied_copies()
    for name in set(copies[0]) | set(copies[1]):
        if (name in copies[0] or name not in ours) and (name in copies[1] or name not in theirs):
            ours.pop(name, None)
            theirs.pop(name, None)
    for name in sorted(set(ours) ^ set(theirs)):
        has, lacks = (base, instruct) if name in ours else (instruct, base)
        raise AtlasError(
            f"{lacks.what}: has no tensor {name}, and {has.what} has one; the two must be of one "
            "architecture."
        )
    for name in sorted(ours):
        refuse_shapes(name, ours[name].shape, base.what, theirs[name].shape, instruct.what)
    for stream in (base, instruct):
        for name, tensor in stream.tensors.items():
            refuse_dtype(stream.what, name, tensor)
    return sorted(ours)


def refuse_dtype(what: str, name: str, tensor: StoredTensor) -> None:
    """Refuse what float32 arithmetic is not meant for: integers and float64."""
    if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise AtlasError(
            f"{what}: the tensor {name} is {str(tensor.dtype).removeprefix('torch.')}; an "
            "instruction delta is made of float32, float16 and bfloat16 weights."
        )


def refuse_shapes(
    name: str, our: tuple[int, ...], we: str, their: tuple[int, ...], they: str
) -> None:
    """Refuse two shapes of one tensor, in the words of vocabularies where it is an embedding."""
    if our == their:
        return
    if kind(name, our) == "embedding" and our[1:] == their[1:]:
        raise AtlasError(
            f"{they}: the vocabularies differ: {name} has {their[0]} rows, and that of {we} has "
            f"{our[0]}; name models of one vocabulary."
        )
    raise AtlasError(
        f"{they}: {name} has the shape {their}, and that of {we} is {our}; the two must be of one "
        "architecture."
    )


class DeltaFile:
    """The deltas of a delta file, read block by block.

    :param tensors: as delta_meta.json describes them: name -> storage and shape.
    :raises AtlasError: where the file has other tensors or shapes than its description.
    """

    def __init__(self, stream: WeightStream, tensors: dict[str, dict[str, object]]) -> None:
        self.stream = stream
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._storage: dict[str, Storage] = {}
        self._buffers = Buffers()
        expected: set[str] = set()
        for name, entry in tensors.items():
            self._storage[name] = entry["storage"]  # type: ignore[assignment]
            self.shapes[name] = tuple(entry["shape"])  # type: ignore[arg-type]
            expected |= {name + part for part in PARTS[self._storage[name]]}
        for part in sorted(expected ^ set(stream.tensors)):
            if part in expected:
                raise AtlasError(
                    f"{stream.what}: the delta file has no tensor {part}, which its delta_meta.json "
                    "names; make the delta again."
                )
            raise AtlasError(
                f"{stream.what}: the delta file has a tensor {part}, which its delta_meta.json does "
                "not name; make the delta again."
            )
        for name in self.shapes:
            self._check(name)
        self._whole: tuple[str, torch.Tensor] | None = None

    def _check(self, name: str) -> None:
        rows, columns = rows_and_columns(self.shapes[name])
        found = [self.stream.tensors[name + part].shape for part in PARTS[self._storage[name]]]
        if self._storage[name] == "dense":
            fits = found[0] == self.shapes[name]
        elif self._storage[name] == "sparse":
            fits = found[1] == (rows + 1,) and found[0] == found[2]
        else:
            fits = found[0][1:] == (columns,) and found[1] == (rows, found[0][0])
        if not fits:
            raise AtlasError(
                f"{self.stream.what}: the delta of {name} does not have the shape "
                f"{self.shapes[name]} that its delta_meta.json says; make the delta again."
            )

    def block(self, name: str, first: int, after: int) -> torch.Tensor:
        """Rows of its delta, (rows, columns) float32, not to be changed, valid until the next."""
        columns = rows_and_columns(self.shapes[name])[1]
        if self._storage[name] == "dense":
            stored = self.stream.rows(name, first, after)
            if stored.dtype == torch.float32:
                return stored
            return self._buffers.single("values", stored)
        values = self._buffers.get("values", (after - first) * columns, torch.float32)
        if self._storage[name] == "low_rank":
            factor = self._kept(name + ".lora_A").float()
            left = self.stream.rows(name + ".lora_B", first, after).float()
            return torch.mm(left, factor, out=values.view(-1, columns))
        rows = self._kept(name + ".crow_indices").long()[first : after + 1]
        start, end, steps = int(rows[0]), int(rows[-1]), rows.diff()
        most = self.stream.tensors[name + ".values"].shape[0]
        valid = 0 <= start <= end <= most and bool((steps >= 0).all())
        if valid:
            at = self.stream.elements(name + ".col_indices", start, end, "c").long()
            valid = not at.numel() or 0 <= int(at.min()) <= int(at.max()) < columns
        if not valid:
            raise AtlasError(
                f"{self.stream.what}: the indices of {name} point outside of it; make the delta again."
            )
        at += torch.repeat_interleave(torch.arange(after - first), steps) * columns
        values.zero_()[at] = self.stream.elements(name + ".values", start, end, "v").float()
        return values.view(-1, columns)

    def _kept(self, part: str) -> torch.Tensor:
        """A part of a tensor that all of its blocks need."""
        if self._whole is None or self._whole[0] != part:
            self._whole = None  # before the next is read
            self._whole = part, self.stream.whole(part)
        return self._whole[1]
