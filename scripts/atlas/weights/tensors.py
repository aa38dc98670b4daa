"""Weights on disk: safetensors only, read lazily, written with one canonical header.

The format: eight bytes (little-endian length of the header), a JSON header, the tensors.
The `safetensors` library orders ``__metadata__`` at random, so files are written here and
read with the library.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from atlas.errors import AtlasError
from atlas.files import PICKLES, read_object, write_json

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
PLACES = re.compile(r"_(indices|size)(\.|$)")
COMPILED = "_orig_mod."
BESIDE = re.compile(r"[\w+-][\w.+-]{0,199}\.safetensors")
POINTER = b"version https://git-lfs.github.com/spec/"
MOST_TENSORS, LONGEST_NAME = 150_000, 500  # the largest mixtures of experts have 100,000 or so


def write_safetensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors in one canonical order: equal tensors and metadata give equal bytes."""
    start, places = safetensors_header(
        {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()}, metadata
    )
    with path.open("wb") as handle:
        handle.write(start)
        for name in places:
            flat = tensors[name].detach().cpu().contiguous().reshape(-1)
            if flat.numel():
                handle.write(memoryview(flat.view(torch.uint8).numpy()))
        handle.flush()
        os.fsync(handle.fileno())


Kinds = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]


def safetensors_header(
    tensors: Kinds, metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The beginning of a safetensors file, which is known before the tensors are.

    Tensors stand in the order of their names; where one would then begin at an address that its
    dtype cannot be read from, wide dtypes come first (readers view tensors in place).

    :param tensors: name -> dtype and shape.
    :returns: length and JSON, and name -> first byte and size after them, in the file's order.
    """
    sizes = {n: math.prod(shape) * dtype.itemsize for n, (dtype, shape) in tensors.items()}
    order, at = sorted(tensors), 0
    for name in order:
        if at % tensors[name][0].itemsize:
            order.sort(key=lambda n: (-tensors[n][0].itemsize, n))
            break
        at += sizes[name]
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    places, at = {}, 0
    for name in order:
        dtype, shape = tensors[name]
        places[name] = (at, sizes[name])
        header[name] = {
            "dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [at, at + sizes[name]]
        }  # fmt: skip
        at += sizes[name]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, places


def write_shards(
    paths: Sequence[Path], names: Sequence[str], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Write weights in several files of about equal size and their index.

    :param paths: where to write, the index last (or one path and no index), under these names
        in the end.
    """
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    groups = shard_groups(sizes, max(len(paths) - 1, 1))
    for path, group in zip(paths, groups, strict=False):
        write_safetensors(path, {name: tensors[name] for name in group}, {"format": "pt"})
    if len(paths) > 1:
        write_index(paths[-1], names, groups, sum(sizes.values()))


def shard_groups(sizes: Mapping[str, int], shards: int) -> list[list[str]]:
    """Names of tensors in so many files of about equal size, from the bytes of each."""
    total = sum(sizes.values())
    groups: list[list[str]] = [[] for _ in range(shards)]
    done = 0
    for name in sorted(sizes):
        groups[min(done * shards // max(total, 1), shards - 1)].append(name)
        done += sizes[name]
    return groups


def write_index(
    path: Path, names: Sequence[str], groups: Sequence[Sequence[str]], total: int
) -> None:
    """Write the index of a model in files of these names, `groups` of tensors, `total` bytes."""
    place = {tensor: file for file, group in zip(names, groups, strict=False) for tensor in group}
    write_json(path, {"metadata": {"total_size": total}, "weight_map": place})


class Weights(Mapping[str, torch.Tensor]):
    """Tensors of one model in one or several safetensors files, read when asked for.

    :param files: of the model; those that are no weights are passed over.
    :raises AtlasError: for a pickle, a damaged file, or an index that does not fit its files.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._where: dict[str, Path] = {}
        self._open: dict[Path, safe_open] = {}
        files = [f for f in files if ".safetensors" in f.name or f.suffix in PICKLES]
        index = [f for f in files if f.name.endswith(".index.json")]
        self.metadata: dict[str, str] = {}
        for file in (f for f in files if f not in index):
            refuse_pickle(file)
            try:
                handle = safe_open(file, framework="pt")
            except (SafetensorError, OSError) as error:
                raise AtlasError(f"{file}: not a whole safetensors file ({error}).") from None
            self._open[file] = handle
            self.metadata.update(handle.metadata() or {})
            names = handle.keys()
            if len(names) + len(self._where) > MOST_TENSORS:
                raise AtlasError(
                    f"{file}: has {len(names):,} tensors, and no model has more than {MOST_TENSORS:,}."
                )
            for name in names:
                if len(name) > LONGEST_NAME:
                    raise AtlasError(f"{file}: a tensor has a name of {len(name):,} characters.")
                if name in self._where:
                    raise AtlasError(f"{file}: the tensor {name} stands in another file too.")
                self._where[name] = file
        for file in index:
            self._check_index(file)

    def _check_index(self, file: Path) -> None:
        names = read_index(file)
        found = {name: where.name for name, where in self._where.items()}
        for name in sorted(set(names) | set(found)):
            if names.get(name) != found.get(name):
                raise AtlasError(
                    f"{file}: the index puts {name} into {names.get(name, 'no file')}, and it "
                    f"stands in {found.get(name, 'no file')}."
                )

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._open[self._where[name]].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._where))

    def __len__(self) -> int:
        return len(self._where)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, without reading it."""
        return tuple(self._open[self._where[name]].get_slice(name).get_shape())


def read_index(file: Path) -> dict[str, str]:
    """Which file each tensor stands in, by the index of a model.

    :raises AtlasError: where it is none, or names what is not a file beside it.
    """
    found = read_object(file).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise AtlasError(f"{file}: is not the index of a model (weight_map).")
    for name in found.values():
        if not (isinstance(name, str) and BESIDE.fullmatch(name)):
            raise AtlasError(
                f"{file}: names the file {str(name)[:80]!r}, which is no safetensors file beside it."
            )
    return found


def refuse_pickle(file: Path) -> None:
    """Refuse files that would run code when opened.

    :raises AtlasError: where the file is missing, a pickle, a zip of pickles or a pointer of Git LFS.
    """
    if not file.is_file():
        raise AtlasError(f"{file}: there is no such file.")
    with file.open("rb") as handle:
        start = handle.read(len(POINTER))
    if start == POINTER:
        raise AtlasError(
            f"{file}: is what Git LFS keeps in the place of the file; fetch it with `git lfs pull`, given "
            "in its folder."
        )
    # A safetensors file may begin like either of them: its first bytes are the length of its header.
    header = int.from_bytes(start[:8], "little")
    whole = start[8:9] == b"{" and header <= file.stat().st_size - 8
    if file.suffix in PICKLES or (not whole and start[:2] in (b"PK", b"\x80\x02")):
        raise AtlasError(f"{file}: a pickle, which may run code; {CONVERT}.")


CONVERT = (
    "convert it to safetensors where that may happen: load it with weights_only=True in a container, "
    "and write it with save_pretrained or safetensors.torch.save_file"
)


def check_stored(tensors: Mapping[str, torch.Tensor], where: str, *, adapter: bool = False) -> None:
    """Stop at what cannot be a weight as it stands: empty, packed bits, no real numbers, NaN or Inf.

    Names are to be those of the model, not of what torch.compile made of it.

    :param adapter: whether they are of an adapter, which has no buffers beside its weights.
    :raises AtlasError: naming the first such tensor.
    """
    for name, tensor in tensors.items():
        if COMPILED in name:
            raise AtlasError(
                f"{where}: the tensor {name} has a name of torch.compile ({COMPILED}); save the model that "
                "was compiled (model._orig_mod.save_pretrained), or take that out of the names."
            )
        if not tensor.numel():
            raise AtlasError(
                f"{where}: the tensor {name} is empty, as when a model is saved while its weights lie "
                "on several GPUs (ZeRO-3); save it again with stage3_gather_16bit_weights_on_model_"
                "save, or gather the checkpoint with zero_to_fp32.py."
            )
        # Of a few kinds of adapters, small numbers say where something stands, or how large it is.
        if PLACES.search(name) and tensor.dtype in INTEGERS:
            continue
        dtype = str(tensor.dtype).removeprefix("torch.")
        if tensor.dtype.itemsize == 1 and tensor.dtype != torch.bool:
            raise AtlasError(
                f"{where}: the tensor {name} is {dtype}: weights of 4 or 8 bits are not read; save "
                "the model dequantised (model.dequantize(), then save_pretrained)."
            )
        is_weight = adapter or name.endswith(".weight") or tensor.is_complex()
        if is_weight and not tensor.is_floating_point():
            raise AtlasError(
                f"{where}: the tensor {name} is {dtype}, and weights are float32, bfloat16, float16 or "
                "float64; save the model as it was trained."
            )
        check_finite({name: tensor}, where)


def check_finite(tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Stop at NaN or Inf, and at what would be Inf in float32, in which everything is computed.

    :raises AtlasError: naming the first tensor that is not finite.
    """
    for name, tensor in tensors.items():
        # A finite sum has finite terms; only where it is not (it may overflow) is each one looked at.
        if not tensor.is_floating_point() or math.isfinite(float(tensor.sum(dtype=torch.float32))):
            continue
        if not bool(torch.isfinite(tensor.float()).all()):
            raise AtlasError(f"{where}: the tensor {name} has NaN or Inf.")
