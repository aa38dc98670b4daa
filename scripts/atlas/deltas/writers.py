"""Writing the delta of one tensor: dense, the largest share of it, or a product of two factors."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from atlas.deltas.blocks import PARTS, Difference, Storage, square_sum
from atlas.errors import AtlasError
from atlas.weights.row_blocks import Buffers, StreamWriter, row_blocks, rows_and_columns
from atlas.weights.tensors import Kinds

OVERSAMPLING = 16  # columns beyond the rank in subspace iterations (Halko et al. 2011, section 4.2)
ITERATIONS = 60
SETTLED = 1e-7  # relative growth of the captured squares at which the iterations end


@dataclass
class Tally:
    """What one tensor's delta is like; sums of squares in float64."""

    elements: int = 0
    changed: int = 0
    square: float = 0.0
    base_square: float = 0.0
    zeroed: int = 0
    subnormal: int = 0
    overflowed: int = 0
    error_square: float = 0.0

    def add(self, other: "Tally") -> None:
        """Take in another tensor's counts and sums."""
        for key, value in vars(other).items():
            setattr(self, key, getattr(self, key) + value)


class DeltaWriter:
    """Deltas of tensors, written one after the other.

    :param dtypes, storage: how each tensor is stored. :param keep: share of the elements that is
        kept of a sparse tensor. :param rank: of the factors of a low-rank tensor.
    """

    def __init__(
        self, difference: Difference, dtypes: dict[str, torch.dtype], storage: dict[str, Storage],
        keep: float | None, rank: int | None,
    ) -> None:  # fmt: skip
        self.difference = difference
        self._dtypes, self._storage = dtypes, storage
        self._keep, self._rank = keep, rank
        self._buffers = Buffers()
        self._turn = 0

    def tensors(self) -> Kinds:
        """Name -> dtype and shape of all that will be written."""
        found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        for name, way in self._storage.items():
            shape, dtype = self.difference.shape(name), self._dtypes[name]
            rows, columns = rows_and_columns(shape)
            if way == "dense":
                found[name] = dtype, shape
            elif way == "sparse":
                count = self._kept(rows * columns)
                index = _index_dtype(count)
                found[f"{name}.crow_indices"] = index, (rows + 1,)
                found[f"{name}.col_indices"] = index, (count,)
                found[f"{name}.values"] = dtype, (count,)
            else:
                assert self._rank is not None
                found[f"{name}.lora_A"] = dtype, (self._rank, columns)
                found[f"{name}.lora_B"] = dtype, (rows, self._rank)
        return found

    def order(self, parts: Sequence[str]) -> list[str]:
        """Tensors in the order in which a file has their parts, so that it is hashed as it is written."""
        place = {part: i for i, part in enumerate(parts)}
        return sorted(
            self._storage, key=lambda name: min(place[name + p] for p in PARTS[self._storage[name]])
        )

    def write(self, name: str, writer: StreamWriter) -> Tally:
        """Write one tensor's delta.

        :raises AtlasError: for NaN or Inf in either model, and for what overflows its dtype.
        """
        work = {"dense": self._dense, "sparse": self._sparse, "low_rank": self._low_rank}
        tally = work[self._storage[name]](name, writer)
        if tally.overflowed:
            dtype = str(self._dtypes[name]).removeprefix("torch.")
            raise AtlasError(
                f"the delta of {name} overflows {dtype} in {tally.overflowed} of {tally.elements} "
                f"elements ({tally.overflowed / tally.elements:.3%}); store it as float32."
            )
        return tally

    def _kept(self, elements: int) -> int:
        assert self._keep is not None
        return max(1, round(self._keep * elements))

    def _blocks(self, name: str, tally: Tally | None = None) -> Iterator[tuple[int, torch.Tensor]]:
        """First row and delta of each block; with a tally, checked and counted."""
        for first, after in row_blocks(self.difference.shape(name)):
            delta, base = self.difference.block(name, first, after)
            if tally is not None:
                square = square_sum(delta)
                if not math.isfinite(square):
                    raise self.difference.blame(name, first, after)
                tally.elements += delta.numel()
                tally.changed += self._true(np.not_equal, delta.reshape(-1).numpy(), 0.0)
                tally.square += square
                tally.base_square += square_sum(base)
            yield first, delta

    def _true(self, test: np.ufunc, values: np.ndarray[Any, Any], limit: float) -> int:
        """How many values pass a test (numpy is many times quicker at this than torch)."""
        mask = self._buffers.get("mask", values.size, torch.bool).numpy()
        return int(np.count_nonzero(test(values, limit, out=mask)))

    def _lost(self, tally: Tally, stored: torch.Tensor, zeros: int) -> None:
        """Count what left the range of a stored dtype of 16 bits, by the bits of its exponents.

        `zeros` of the values were zero before they were rounded.
        """
        if stored.dtype == torch.float32:
            return
        sizes = self._buffers.get("bits", stored.numel(), torch.int16).numpy()
        np.bitwise_and(stored.view(torch.int16).numpy(), 0x7FFF, out=sizes)
        normal = 0x0400 if stored.dtype == torch.float16 else 0x0080  # smallest normal number
        infinite = 0x7C00 if stored.dtype == torch.float16 else 0x7F80
        below = self._true(np.less, sizes, normal) - zeros
        if below:
            tally.subnormal += below
            tally.zeroed += self._true(np.equal, sizes, 0) - zeros
        if sizes.max(initial=0) >= infinite:
            tally.overflowed += self._true(np.greater_equal, sizes, infinite)

    def _stored(self, delta: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Values as they are stored, in one of two buffers: a writer may still hash the other."""
        self._turn = 1 - self._turn
        stored = self._buffers.get(f"stored{self._turn}", delta.numel(), dtype)
        return stored.copy_(delta.reshape(-1))

    def _dense(self, name: str, writer: StreamWriter) -> Tally:
        tally, dtype, seen = Tally(), self._dtypes[name], 0  # zeros of the blocks before
        for first, delta in self._blocks(name, tally):
            stored = self._stored(delta, dtype)
            self._lost(tally, stored, tally.elements - tally.changed - seen)
            seen = tally.elements - tally.changed
            writer.write(name, first * delta.shape[1], stored)
        return tally

    def _sparse(self, name: str, writer: StreamWriter) -> Tally:
        """The largest elements by magnitude; where magnitudes tie, those that come first."""
        tally, dtype = Tally(), self._dtypes[name]
        rows, columns = rows_and_columns(self.difference.shape(name))
        count = self._kept(rows * columns)
        limit, ties = self._limit(name, count, tally)
        index = _index_dtype(count)
        ends, done = [torch.zeros(1, dtype=torch.int64)], 0
        for _, delta in self._blocks(name):
            bits = _magnitude(delta)
            mask = bits > limit
            if ties:
                tied = (bits == limit).view(-1).nonzero().view(-1)[:ties]
                mask.view(-1)[tied] = True
                ties -= len(tied)
            at = mask.view(-1).nonzero().view(-1)
            values = delta.view(-1)[at]
            stored = values.to(dtype)
            self._lost(tally, stored, int((values == 0).sum()))
            writer.write(f"{name}.col_indices", done, (at % columns).to(index))
            writer.write(f"{name}.values", done, stored)
            ends.append(mask.sum(dim=1, dtype=torch.int64).cumsum(0) + done)
            done += len(at)
            delta.view(-1)[at] = values - stored.float()
            tally.error_square += square_sum(delta)
        writer.write(f"{name}.crow_indices", 0, torch.cat(ends).to(index))
        return tally

    def _limit(self, name: str, count: int, tally: Tally) -> tuple[int, int]:
        """The `count`-th largest magnitude as bits of a float32, and how many of its equals to keep.

        Bits of positive numbers are in the order of the numbers: counted by their upper half
        first, then by their lower half where the limit is.
        """
        upper = np.zeros(1 << 16, dtype=np.int64)
        for _, delta in self._blocks(name, tally):
            upper += np.bincount(_magnitude(delta).view(-1).numpy() >> 15, minlength=1 << 16)
        high, above = _reach(upper, count)
        lower = np.zeros(1 << 15, dtype=np.int64)
        for _, delta in self._blocks(name):
            bits = _magnitude(delta).view(-1).numpy()
            lower += np.bincount(bits[bits >> 15 == high] & 0x7FFF, minlength=1 << 15)
        low, more = _reach(lower, count - above)
        return (high << 15) | low, count - above - more

    def _low_rank(self, name: str, writer: StreamWriter) -> Tally:
        """Truncated SVD by subspace iteration on D'D, in float64, block by block.

        Halko, Martinsson, Tropp (2011), algorithm 4.4; until the captured squares have settled.
        """
        assert self._rank is not None
        tally, dtype = Tally(), self._dtypes[name]
        rows, columns = rows_and_columns(self.difference.shape(name))
        width = min(self._rank + OVERSAMPLING, rows, columns)
        start = torch.randn(
            columns, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        )
        space, captured = torch.linalg.qr(start)[0], 0.0
        for step in range(ITERATIONS):
            image = torch.zeros(columns, width, dtype=torch.float64)
            before, captured = captured, 0.0
            for _, delta in self._blocks(name, tally if step == 0 else None):
                wide = delta.double()
                part = wide @ space
                captured += float(part.square().sum())
                image.addmm_(wide.T, part)
            space = torch.linalg.qr(image)[0]
            if captured - before <= SETTLED * captured:
                break
        a, scale = self._right_factor(name, space)
        stored_a = a.to(dtype)
        writer.write(f"{name}.lora_A", 0, stored_a)
        kept = stored_a.float()
        for first, delta in self._blocks(name):
            stored = (delta.double() @ scale).to(dtype)
            tally.overflowed += int((~torch.isfinite(stored)).sum())
            writer.write(f"{name}.lora_B", first * self._rank, stored)
            tally.error_square += square_sum(delta.sub_(stored.float() @ kept))
        return tally

    def _right_factor(self, name: str, space: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A (rank, columns), and what makes B of D: B = D V / sqrt(s), A = sqrt(s) V'."""
        gram = torch.zeros(space.shape[1], space.shape[1], dtype=torch.float64)
        for _, delta in self._blocks(name):
            part = delta.double() @ space
            gram.addmm_(part.T, part)
        squares, turn = torch.linalg.eigh(gram)
        order = squares.argsort(descending=True)[: self._rank]
        root = squares[order].clamp(min=0.0).sqrt().sqrt()  # of the singular values
        right = space @ turn[:, order]
        inverse = torch.where(root > 0, 1.0 / root, torch.zeros_like(root))
        return (right * root).T.contiguous(), right * inverse


def _magnitude(values: torch.Tensor) -> torch.Tensor:
    """Bits of |x| as int32, in the order of |x|."""
    return values.view(torch.int32) & 0x7FFFFFFF


def _reach(counts: np.ndarray[Any, Any], wanted: int) -> tuple[int, int]:
    """The bin, from the top, with the element `wanted`, and how many elements are above it."""
    from_top = np.cumsum(counts[::-1])
    at = int(np.searchsorted(from_top, wanted))
    return len(counts) - 1 - at, int(from_top[at - 1]) if at else 0


def _index_dtype(count: int) -> torch.dtype:
    return torch.int32 if count < 2**31 else torch.int64
