"""Weights as streams of row blocks: plain reads and writes, reused buffers.

A file that is mapped into memory counts as resident once it was read; here no more is resident
than a few blocks, whatever the size of the model.
"""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch

from atlas.digests import joint_digest, weights_digest
from atlas.errors import AtlasError
from atlas.files import PICKLES
from atlas.guarded_json import parse_json
from atlas.weights.tensors import NAMES, Kinds, Weights, safetensors_header

BLOCK = 1 << 19  # elements of a row block: 2 MiB in float32, so that a block stays in the cache
CHUNK = 1 << 20  # bytes read at a time where only a digest is wanted
_DTYPES = {name: dtype for dtype, name in NAMES.items()}


class Digests(Protocol):
    """SHA-256 of files as a job knows them, so that no byte is hashed twice."""

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file's bytes, in hexadecimal."""

    def put(self, path: Path, digest: str) -> None:
        """Take over the digest of a file that was hashed while it was written."""


class Buffers:
    """Scratch tensors that are made once and used for every block, whatever was left in them."""

    def __init__(self) -> None:
        self._kept: dict[str, torch.Tensor] = {}

    def get(self, key: str, count: int, dtype: torch.dtype) -> torch.Tensor:
        """A tensor (count,)."""
        size = count * dtype.itemsize
        kept = self._kept.get(key)
        if kept is None or kept.numel() < size:
            kept = self._kept[key] = torch.empty(max(size, BLOCK), dtype=torch.uint8)
        return kept[:size].view(dtype)

    def single(self, key: str, values: torch.Tensor) -> torch.Tensor:
        """A copy of values in float32."""
        return self.get(key, values.numel(), torch.float32).view(values.shape).copy_(values)


class FollowingDigest:
    """SHA-256 of an open file, fed by its writes; what came out of order is read at the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self._at = 0

    def feed(self, offset: int, data: memoryview) -> None:
        """Take in bytes that stand at this place of the file."""
        if offset == self._at:
            self._hash.update(data)
            self._at += len(data)

    def finish(self) -> str:
        """The digest, of the file from its first to its last byte."""
        buffer = memoryview(bytearray(CHUNK))
        while count := os.preadv(self._descriptor, [buffer], self._at):
            self._hash.update(buffer[:count])
            self._at += count
        return self._hash.hexdigest()


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor stands."""

    file: Path
    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def columns(self) -> int:
        """Columns of the tensor seen as a matrix."""
        return rows_and_columns(self.shape)[1]


def rows_and_columns(shape: Sequence[int]) -> tuple[int, int]:
    """A tensor as a matrix: the last axis are columns; a vector has one."""
    if len(shape) < 2:
        return math.prod(shape), 1
    return math.prod(shape[:-1]), shape[-1]


def row_blocks(shape: Sequence[int], block: int | None = None) -> Iterator[tuple[int, int]]:
    """First row and row after the last of blocks of about `block` elements, whole rows each."""
    rows, columns = rows_and_columns(shape)
    step = max(1, (block or BLOCK) // max(columns, 1))
    if columns:
        for first in range(0, rows, step):
            yield first, min(first + step, rows)


class WeightStream:
    """Tensors of one model in one or several safetensors files, read in row blocks.

    :param files: weights and index, under their final names. :param what: how messages call it.
    :param digests: what knows the digests of these files, where it is not the files themselves.
    :raises AtlasError: for a pickle, a damaged file, an index that does not fit its files, tensors
        of integers.
    """

    def __init__(self, files: Sequence[Path], what: str, digests: Digests | None = None) -> None:
        self.what, self._known = what, digests
        files = [f for f in files if ".safetensors" in f.name or f.suffix in PICKLES]
        if not any(f.name.endswith(".safetensors") or f.suffix in PICKLES for f in files):
            raise AtlasError(f"{what}: has no safetensors weights.")
        self.metadata = Weights(files).metadata
        self.tensors: dict[str, StoredTensor] = {}
        self._buffers = Buffers()
        self._descriptors: dict[Path, int] = {}
        for file in sorted(f for f in files if f.name.endswith(".safetensors")):
            self._open(file)

    def _open(self, file: Path) -> None:
        descriptor = self._descriptors[file] = os.open(file, os.O_RDONLY)
        size = int.from_bytes(os.pread(descriptor, 8, 0), "little")
        for name, entry in parse_json(os.pread(descriptor, size, 8)).items():
            if name == "__metadata__":
                continue
            if entry["dtype"] not in _DTYPES:
                raise AtlasError(
                    f"{self.what}: the tensor {name} is {entry['dtype']}, which is not read here."
                )
            self.tensors[name] = StoredTensor(
                file, 8 + size + entry["data_offsets"][0], _DTYPES[entry["dtype"]],
                tuple(entry["shape"]),
            )  # fmt: skip

    def __enter__(self) -> "WeightStream":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def elements(self, name: str, first: int, after: int, key: str = "") -> torch.Tensor:
        """Elements of a tensor, counted through the whole of it, as they are stored.

        The block is valid until the next is read with the same key.

        :raises AtlasError: where the file became shorter.
        """
        tensor = self.tensors[name]
        block = self._buffers.get(key, after - first, tensor.dtype)
        if not block.numel():
            return block
        view = memoryview(block.view(torch.uint8).numpy())
        offset = tensor.offset + first * tensor.dtype.itemsize
        done = 0
        while done < len(view):
            count = os.preadv(self._descriptors[tensor.file], [view[done:]], offset + done)
            if not count:
                raise AtlasError(f"{tensor.file}: became shorter while it was read.")
            done += count
        return block

    def will_read(self, name: str) -> None:
        """Let the system fetch a tensor from the disk meanwhile, where it can."""
        tensor = self.tensors[name]
        size = math.prod(tensor.shape) * tensor.dtype.itemsize
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(
                self._descriptors[tensor.file], tensor.offset, size, os.POSIX_FADV_WILLNEED
            )

    def rows(self, name: str, first: int, after: int, key: str = "") -> torch.Tensor:
        """Rows of a tensor seen as a matrix, (rows, columns), as they are stored."""
        columns = self.tensors[name].columns
        return self.elements(name, first * columns, after * columns, key).view(-1, columns)

    def whole(self, name: str) -> torch.Tensor:
        """A copy of a (small) tensor in its own shape."""
        tensor = self.tensors[name]
        block = self.elements(name, 0, math.prod(tensor.shape), "whole")
        return block.clone().reshape(tensor.shape)

    def digest(self) -> str:
        """The weights digest, as :func:`atlas.digests.weights_digest` gives it."""
        if self._known is None:
            return weights_digest(list(self._descriptors))
        return joint_digest({file.name: self._known.sha256(file) for file in self._descriptors})

    def tied_copies(self) -> dict[str, str]:
        """Output embeddings that are stored though they are the input embeddings, bit by bit."""
        outputs = [name for name in self.tensors if name.endswith("lm_head.weight")]
        inputs = [n for n in self.tensors if n.endswith(("embed_tokens.weight", "wte.weight"))]
        return {one: two for one in outputs for two in inputs if self._equal(one, two)}

    def _equal(self, one: str, two: str) -> bool:
        a, b = self.tensors[one], self.tensors[two]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return False
        return all(
            torch.equal(self.rows(one, *block, "one").view(torch.uint8),
                        self.rows(two, *block, "two").view(torch.uint8))
            for block in row_blocks(a.shape)
        )  # fmt: skip


class StreamWriter:
    """A safetensors file that is written in blocks, hashed on the way and brought to the disk.

    Writing and hashing are done beside the caller's own work. Used as a context.

    :param tensors: of all that will be written. :param digests: what is told the digest.
    """

    def __init__(
        self, path: Path, tensors: Kinds, metadata: Mapping[str, str],
        digests: Digests | None = None,
    ) -> None:  # fmt: skip
        self.path, self._tensors, self._known = path, tensors, digests
        start, places = safetensors_header(tensors, metadata)
        self._offsets = {name: len(start) + at for name, (at, _) in places.items()}
        self._missing = sum(size for _, size in places.values())
        self.order = list(places)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        self._digest = FollowingDigest(self._descriptor)
        self.sha256 = ""
        self._write(0, memoryview(start))

    def _write(self, offset: int, view: memoryview) -> None:
        done = 0
        while done < len(view):
            done += os.pwrite(self._descriptor, view[done:], offset + done)
        self._digest.feed(offset, view)

    def _wait(self) -> None:
        """Until what was written last is on its way to the disk, and hashed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def write(self, name: str, first: int, values: torch.Tensor) -> None:
        """Write elements, contiguous and of the declared dtype, from element `first` on.

        The values must stay as they are until the next but one write.

        :raises BaseException: what went wrong with the write before.
        """
        dtype, _ = self._tensors[name]
        if values.dtype != dtype:
            raise TypeError(f"{name} is declared as {dtype}, and {values.dtype} was given")
        if values.numel():
            view = memoryview(values.reshape(-1).view(torch.uint8).numpy())
            self._wait()
            offset = self._offsets[name] + first * dtype.itemsize
            self._pending = self._pool.submit(self._write, offset, view)
            self._missing -= len(view)

    def __enter__(self) -> "StreamWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        try:
            if kind is None:
                self._wait()
                if self._missing:
                    raise RuntimeError(f"{self.path}: {self._missing} bytes were not written")
                os.fsync(self._descriptor)
                self.sha256 = self._digest.finish()
                if self._known is not None:
                    self._known.put(self.path, self.sha256)
        finally:
            self._pool.shutdown()
            os.close(self._descriptor)
