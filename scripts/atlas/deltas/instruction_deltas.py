"""Instruction deltas: instruct minus base, made once, stored with what it is made of."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from atlas import device
from atlas.deltas.blocks import DeltaFile, Difference, Storage, read_description
from atlas.deltas.writers import DeltaWriter, Tally
from atlas.errors import AtlasError
from atlas.files import by_name, read_json, write_json
from atlas.networks.vocabularies import refuse_other_vocabulary
from atlas.progress import Progress
from atlas.weights.row_blocks import (
    Buffers,
    Digests,
    StreamWriter,
    WeightStream,
    row_blocks,
    rows_and_columns,
)
from atlas.weights.tensor_kinds import kind, layer

# Keys of config.json that say nothing of what the network computes, or belong to the file.
_UNSHARED = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures",
             "tie_word_embeddings", "model_type"}  # fmt: skip
Wanted = Literal["float16", "float32", "model"]


def make_delta(
    *, name: str, base: list[Path], instruct: list[Path], dtype: Wanted, keep: float | None,
    rank: int | None, delta: Path, meta: Path, digests: Digests | None = None
) -> None:  # fmt: skip
    """Write instruct minus base, tensor by tensor, row block by row block.

    Arithmetic is in float32, rounded once to the stored dtype; embeddings and norms are stored in
    float32 always. ``meta`` describes the delta: digests, dtypes, norms, what was lost.

    :param base, instruct: files of the two: weights, index, config.json, tokenizer.json.
    :param dtype: of matrices and biases; ``model`` is that of the instruct model.
    :param keep: share of the elements of each matrix that is kept, the largest ones.
    :param rank: of the two factors of each matrix. :param digests: as for :class:`WeightStream`.
    :raises AtlasError: for models that do not belong together, broken weights, overflow.
    """
    device.set_threads()
    if keep is not None and rank is not None:
        raise AtlasError(f"deltas.{name}: set keep or rank, not both.")
    if (keep is not None and not 0 < keep <= 1) or (rank is not None and rank < 1):
        raise AtlasError(f"deltas.{name}: keep is above 0 and at most 1, and rank at least 1.")
    settings = config_changes(base, instruct)
    tokenizer, other = (by_name(files).get("tokenizer.json") for files in (base, instruct))
    if tokenizer and other:
        refuse_other_vocabulary(tokenizer, other)
    with (
        WeightStream(base, _called(base), digests) as ours,
        WeightStream(instruct, _called(instruct), digests) as theirs,
    ):
        difference = Difference(ours, theirs)
        dtypes = {n: _dtype(n, theirs, dtype) for n in difference.names}
        storage = {n: _storage(n, difference.shape(n), keep, rank) for n in difference.names}
        work = DeltaWriter(difference, dtypes, storage, keep, rank)
        tallies: dict[str, Tally] = {}
        progress = Progress(len(difference.names), "tensor")
        with StreamWriter(delta, work.tensors(), {"format": "pt"}, digests) as writer:
            for tensor in work.order(writer.order):
                tallies[tensor] = work.write(tensor, writer)
                progress.step(tensor)
        told = _description(difference, dtypes, storage, tallies)
        told |= {"name": name, "keep": keep, "rank": rank, "config": settings}
        told |= {"base": _origin(base, ours), "instruct": _origin(instruct, theirs)}
        write_json(meta, told | {"delta_sha256": writer.sha256})


def _called(files: Sequence[Path]) -> str:
    """How a delta and its messages call a model: by its record, else by its folder."""
    record = by_name(files).get("base.json")
    return str(read_json(record)["name"]) if record else files[0].parent.name


def _origin(files: Sequence[Path], stream: WeightStream) -> dict[str, str]:
    """Name and digest of one of the two models, whose base.json must record the same weights."""
    digest = stream.digest()
    record = by_name(files).get("base.json")
    if record and read_json(record)["weights_sha256"] != digest:
        raise AtlasError(
            f"{_called(files)}: its weights are not those that its base.json records; fetch the "
            "base again."
        )
    return {"name": _called(files), "weights_sha256": digest}


def config_changes(base: Sequence[Path], instruct: Sequence[Path]) -> dict[str, Any]:
    """What the instruct model's config.json has that its base's has not: key -> value.

    It is part of the delta: end and padding tokens, lengths, how positions are scaled.

    :raises AtlasError: for two architectures, and where there is no config.json.
    """
    for files in (base, instruct):
        if "config.json" not in by_name(files):
            raise AtlasError(
                f"{files[0].parent}: has no config.json, which says what the weights are."
            )
    ours, theirs = (read_json(by_name(files)["config.json"]) for files in (base, instruct))
    if ours.get("model_type") != theirs.get("model_type"):
        raise AtlasError(
            f"{_called(instruct)}: is a {theirs.get('model_type')}, and {_called(base)} is a "
            f"{ours.get('model_type')}; name the base that this instruct model was made from."
        )
    keys = (set(ours) | set(theirs)) - _UNSHARED
    return {key: theirs.get(key) for key in sorted(keys) if ours.get(key) != theirs.get(key)}


def _dtype(name: str, instruct: WeightStream, wanted: Wanted) -> torch.dtype:
    tensor = instruct.tensors[name]
    if kind(name, tensor.shape) in ("embedding", "norm"):
        return torch.float32
    return tensor.dtype if wanted == "model" else getattr(torch, wanted)


def _storage(name: str, shape: tuple[int, ...], keep: float | None, rank: int | None) -> Storage:
    """How a tensor is stored: norms, biases and what would not become smaller stay dense."""
    if kind(name, shape) in ("norm", "bias"):
        return "dense"
    rows, columns = rows_and_columns(shape)
    if keep is not None:
        return "sparse"
    if rank is not None and rank * (rows + columns) < rows * columns:
        return "low_rank"
    return "dense"


def _description(
    difference: Difference,
    dtypes: Mapping[str, torch.dtype],
    storage: Mapping[str, Storage],
    tallies: Mapping[str, Tally],
) -> dict[str, Any]:
    """Counts, norms and losses: of each tensor, of each layer, in all."""
    total = Tally()
    layers: dict[str, Tally] = {}
    kinds: dict[str, set[str]] = {}
    tensors: dict[str, Any] = {}
    for name in difference.names:
        tally, shape = tallies[name], difference.shape(name)
        total.add(tally)
        layers.setdefault(layer(name), Tally()).add(tally)
        kinds.setdefault(kind(name, shape), set()).add(_plain(dtypes[name]))
        tensors[name] = {
            "shape": list(shape), "kind": kind(name, shape), "dtype": _plain(dtypes[name]),
            "storage": storage[name], **_measures(tally),
        }  # fmt: skip
    return {
        "dtypes": {key: ", ".join(sorted(value)) for key, value in kinds.items()},
        "tensors_changed": sum(t.changed > 0 for t in tallies.values()),
        "layers": {key: _measures(tally) for key, tally in layers.items()},
        "total": {"tensors": len(tallies), **_measures(total)},
        "tensors": tensors,
    }


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _measures(tally: Tally) -> dict[str, Any]:
    """Numbers of one tally.

    ``l2_relative`` is the norm of the delta by that of the base. ``underflow``: elements that are
    not zero and stored below the smallest normal number of the dtype (fewer digits are kept), and
    those of them that became zero. ``error_relative``: norm of what keep or rank lost, by that of
    the delta.
    """
    norm, base = math.sqrt(tally.square), math.sqrt(tally.base_square)
    count = max(tally.elements, 1)
    lost = {"elements": tally.subnormal, "share": tally.subnormal / count}
    lost |= {"to_zero": tally.zeroed, "share_to_zero": tally.zeroed / count}
    return {
        "elements": tally.elements,
        "elements_changed": tally.changed,
        "l2": norm,
        "base_l2": base,
        "l2_relative": norm / base if base else None,
        "underflow": lost,
        "error_relative": math.sqrt(tally.error_square) / norm if norm else 0.0,
    }


def identity(
    *, base: Sequence[Path], instruct: Sequence[Path], delta: Path, meta: Path
) -> dict[str, Any]:
    """What comes back where the model is the base itself: base plus delta, against instruct.

    :returns: elements; those that are bit by bit the instruct model's and their share; those
        farther from it than half an ulp of the float32 delta, half an ulp of the stored one and
        half an ulp of the sum (none, unless the delta is sparse or of low rank).
    """
    elements = exact = outside = 0
    buffers = Buffers()
    known = read_description(meta)
    with (
        WeightStream(base, _called(base)) as ours,
        WeightStream(instruct, _called(instruct)) as theirs,
        WeightStream([delta], known["name"]) as stored,
    ):
        deltas = DeltaFile(stored, known["tensors"])
        for name in deltas.shapes:
            shape, dtype = ours.tensors[name].shape, ours.tensors[name].dtype
            narrow = getattr(torch, known["tensors"][name]["dtype"])
            for first, after in row_blocks(shape):
                begin = ours.rows(name, first, after)
                goal = theirs.rows(name, first, after).float()
                total = buffers.single("total", begin).add_(deltas.block(name, first, after))
                result = total.to(dtype).float()
                same = result.view(torch.int32) == goal.view(torch.int32)
                elements += same.numel()
                exact += int(same.sum())
                if not bool(same.all()):
                    step = goal - begin.float()
                    bound = (half_ulp(step, torch.float32) + half_ulp(step, narrow)
                             + half_ulp(total, torch.float32) + half_ulp(total, dtype))  # fmt: skip
                    # Rounding may carry a value over a power of two: its own ulp is then the wider.
                    outside += int(((result.double() - goal.double()).abs() > bound * 1.0001).sum())
    return {"elements": elements, "bit_exact": exact, "share": exact / max(elements, 1),
            "outside_bound": outside}  # fmt: skip


def half_ulp(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Half a unit in the last place of these values in a dtype, float64."""
    limits = torch.finfo(dtype)
    sizes = values.double().abs().clamp_(min=limits.smallest_normal)
    # The power of two at or below a number: its sign and exponent alone.
    sizes.view(torch.int64).bitwise_and_(0x7FF << 52)
    return sizes.mul_(limits.eps / 2)
