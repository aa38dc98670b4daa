"""Weights of a network by its own names, read from files in row blocks, as precise as it computes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.weights.row_blocks import WeightStream, row_blocks
from atlas.weights.tensors import Weights
from atlas.weights.weight_files import INDEX, WHOLE, listed_files, named_weights

Room = Callable[[str], torch.Tensor]


@dataclass
class _Made:
    """What one tensor of a network, or several that are split from one, are made of.

    :param converter: of transformers; None: the tensor is stored as it is.
    :param stored: names in the files, and the pattern of the converter that each matches.
    """

    first: str
    converter: Any
    stored: list[tuple[str, str]] = field(default_factory=list)

    def tensors(self, read: Callable[[str], torch.Tensor], network: Any) -> dict[str, torch.Tensor]:
        """By the names of the network, as transformers makes them of what is stored."""
        converter = copy.deepcopy(self.converter)
        for name, pattern in self.stored:
            converter.add_tensor(self.first, name, pattern, lambda name=name: read(name))
        found = converter.convert(self.first, model=network, config=network.config)
        return {n: t[0] if isinstance(t, list) else t for n, t in found.items()}


def _files(folder: Path) -> list[Path]:
    present = {file.name for file in folder.iterdir()}
    if present >= {WHOLE, INDEX}:
        raise AtlasError(
            f"{folder}: has its weights twice, in {WHOLE} and in the files of {INDEX}, as where shards of a "
            "base was changed; remove the folder, and it is made again."
        )
    index = folder / named_weights(present, folder.name)
    return [folder / name for name in listed_files(index)]


def check_files(folder: Path) -> None:
    """Refuse weights that are not whole, by what their headers say; no tensor is read.

    :raises AtlasError: naming the file.
    """
    Weights(_files(folder))


def size_in_memory(folder: Path, dtype: str) -> int:
    """Bytes of the weights of a folder, were they all loaded in a precision."""
    with WeightStream(_files(folder), folder.name) as stream:
        elements = sum(math.prod(tensor.shape) for tensor in stream.tensors.values())
    return elements * getattr(torch, dtype).itemsize


class StoredWeights:
    """Weights in the files of a folder, by the names that a network has for them.

    Which stored tensor is which of the network, and what is made of several (experts), transformers
    says. The files are open only while something is read.

    :param network: of the folder, on ``meta``, in the dtypes in which it computes; all of its
        tensors are there (:func:`atlas.networks.architectures.load`).
    :raises AtlasError: for a damaged file; no tensor is read.
    """

    def __init__(self, folder: Path, network: Any) -> None:
        self.folder, self._network, self._files = folder, network, _files(folder)
        self._own: dict[str, torch.Tensor] = network.state_dict()
        self._tied: dict[str, str] = dict(getattr(network, "all_tied_weights_keys", None) or {})
        self._made: dict[str, _Made] = {}
        with WeightStream(self._files, folder.name) as stream:
            for made in self._matched(stream):
                names: Collection[str] = [made.first]
                if made.converter is not None:
                    shapes = {name: stream.tensors[name].shape for name, _ in made.stored}
                    names = made.tensors(
                        lambda name, shapes=shapes: torch.empty(shapes[name], device="meta"),
                        network,
                    )
                self._made |= dict.fromkeys(names, made)

    def _matched(self, stream: WeightStream) -> list[_Made]:
        """As transformers matches names when it loads a network."""
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import (
            WeightConverter,
            WeightRenaming,
            dot_natural_key,
            rename_source_key,
        )

        mapping = get_model_conversion_mapping(self._network)
        renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
        converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
        of_pattern = {pattern: one for one in converters for pattern in one.source_patterns}
        prefix, found = self._network.base_model_prefix, dict[str, _Made]()
        for name in sorted(stream.tensors, key=dot_natural_key):
            own, pattern = rename_source_key(name, renamings, converters, prefix, self._own)
            if own not in self._own and name in self._own:
                own, pattern = rename_source_key(name, [], [], prefix, self._own)
            if own in self._own:
                converter = of_pattern[pattern] if pattern else None
                made = found.setdefault(own, _Made(own, converter))
                made.stored.append((name, pattern or ""))
        return list(found.values())

    def stored_name(self, name: str) -> str:
        """The name of a tensor that is stored, of it or of one that it is tied to; else its own."""
        if name in self._made:
            return name
        ties = {*self._tied.items(), *((two, one) for one, two in self._tied.items())}
        return next((two for one, two in sorted(ties) if one == name and two in self._made), name)

    def __contains__(self, name: str) -> bool:
        return self.stored_name(name) in self._made

    def read(self, names: Collection[str], room: Room) -> None:
        """Read tensors.

        :param room: gives, for a name, the tensor to write it to.
        :raises AtlasError: where a file became shorter.
        """
        made_of: dict[int, Mapping[str, torch.Tensor]] = {}
        with WeightStream(self._files, self.folder.name) as stream:
            for name in names:
                made = self._made[self.stored_name(name)]
                if made.converter is None:
                    self._fill(stream, made.stored[0][0], room(name))
                    continue
                if id(made) not in made_of:
                    made_of = {id(made): self._converted(stream, made)}
                room(name).copy_(made_of[id(made)][self.stored_name(name)])

    def will_read(self, names: Collection[str]) -> None:
        """Tensors that are read next: the disk has time for them until then."""
        with WeightStream(self._files, self.folder.name) as stream:
            for name in names:
                for stored, _ in self._made[self.stored_name(name)].stored:
                    stream.will_read(stored)

    def _fill(self, stream: WeightStream, stored: str, target: torch.Tensor) -> None:
        shape = stream.tensors[stored].shape
        rows = target.view(-1, stream.tensors[stored].columns)
        for first, after in row_blocks(shape):
            rows[first:after].copy_(stream.rows(stored, first, after))

    def _converted(self, stream: WeightStream, made: _Made) -> Mapping[str, torch.Tensor]:
        own = self._own[made.first]

        def whole(stored: str) -> torch.Tensor:
            target = torch.empty(stream.tensors[stored].shape, dtype=own.dtype)
            self._fill(stream, stored, target)
            return target

        return made.tensors(whole, self._network)

    def rows(self, name: str, numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Some rows of a tensor, in the order of their numbers, (n, columns)."""
        made = self._made[self.stored_name(name)]
        own = self._own[name]
        found = torch.empty((len(numbers), *own.shape[1:]), dtype=own.dtype)
        with WeightStream(self._files, self.folder.name) as stream:
            if made.converter is not None:
                found.copy_(self._converted(stream, made)[self.stored_name(name)][numbers.cpu()])
            else:
                for place, number in enumerate(numbers.tolist()):
                    found[place].copy_(stream.rows(made.stored[0][0], number, number + 1)[0])
        return found.to(device)

    def blocks(
        self, name: str, elements: int, device: torch.device
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """A matrix in blocks of about so many elements: the first row of each, and its rows.

        A block is valid until the next is read.
        """
        own = self._own[name]
        step = max(1, elements // own.shape[1])
        room = torch.empty((min(step, own.shape[0]), own.shape[1]), dtype=own.dtype, device=device)
        made = self._made[self.stored_name(name)]
        with WeightStream(self._files, self.folder.name) as stream:
            whole = (
                None if made.converter is None
                else self._converted(stream, made)[self.stored_name(name)]
            )  # fmt: skip
            for start in range(0, own.shape[0], step):
                end = min(start + step, own.shape[0])
                block = room[: end - start]
                if whole is not None:
                    block.copy_(whole[start:end])
                else:
                    for first, after in row_blocks((end - start, own.shape[1])):
                        rows = stream.rows(made.stored[0][0], start + first, start + after)
                        block[first:after].copy_(rows)
                yield start, block
