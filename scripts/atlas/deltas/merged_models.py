"""Merged models: a model trained from a base, plus an instruction delta of that base."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from atlas import device
from atlas.deltas.blocks import DeltaFile, read_description, refuse_dtype, refuse_shapes, square_sum
from atlas.deltas.merged_settings import take_tokenizer, write_generation, write_settings
from atlas.deltas.origins import Distance, judge_origin, recorded_origin
from atlas.digests import joint_digest, sha256_file
from atlas.errors import AtlasError
from atlas.files import by_name, read_json
from atlas.progress import Progress
from atlas.weights.adapters import Adapter, check_fits, load_plain
from atlas.weights.model_cards import write_card
from atlas.weights.row_blocks import Buffers, Digests, StreamWriter, WeightStream, row_blocks
from atlas.weights.tensors import Kinds, shard_groups, write_index


def apply_delta(
    *, name: str, model: list[Path], model_base: list[Path], base_names: list[str],
    base: list[Path], instruct: list[Path], delta: Path, meta: Path, force: bool,
    address: list[str | None], sentence: str, weight_names: list[str], weights: list[Path],
    config: Path, generation: Path, tokenizer: Path, tokenizer_config: Path, card: Path,
    digests: Digests | None = None
) -> None:  # fmt: skip
    """Write model plus delta as a model folder that loads as it stands.

    An adapter is merged first, in float32; sums are in float32, rounded once to the dtype of the
    model. Configuration: the model's, with what the instruct model changed of its base's; ends and
    sampling of generation: those of the instruct model.

    :param model: files of the model: full weights (and index, config.json), or an adapter.
    :param model_base: files of the base that the model was trained from.
    :param base_names: names under which an adapter may record that base.
    :param base: files of the base of the delta (the same, or one that `model_base` comes from).
    :param instruct: tokenizer.json and tokenizer_config.json of the instruct model, among others.
    :param force: apply to a model that records no origin, though its weights are far from the
        base's (or, for an adapter, cannot be compared); its card then says so.
    :param address: what the card calls the base, and its revision.
    :param weight_names: final names of `weights`, the index last (or one name and no index).
    :param digests: as for :class:`WeightStream`.
    :raises AtlasError: for a model of another base, tensors or shapes that differ, broken weights,
        a delta that is not what its description says.
    """
    device.set_threads()
    known = read_description(meta)
    with Merge(model, model_base, delta, known, digests) as merge:
        origin = read_json(by_name(model_base)["base.json"])
        recorded = recorded_origin(
            merge.what, merge.adapter or merge.network.metadata, origin, base_names, known
        )
        merge.write(weights, weight_names, None if recorded else base)
        warning = "" if recorded else judge_origin(merge.what, merge.distance, known, force)
        made_of = merge.digests()
    write_settings(model_base if merge.adapter else model, known, config)
    write_generation(by_name(instruct), config, generation)
    take_tokenizer(by_name(instruct), tokenizer, tokenizer_config)
    record = read_json(by_name(base)["base.json"])
    write_card(
        card, name=name, base=record, address=str(address[0]), revision=address[1],
        adapter=False, folder="results/merged", digests=made_of,
        seq2seq=bool(read_json(config).get("is_encoder_decoder")),
        sentence="\n\n".join(part for part in (sentence, warning) if part),
        origin=f"Made by Delta Atlas: {merge.what} plus the instruction delta {known['name']} "
               f"({known['instruct']['name']} minus {known['base']['name']}).",
    )  # fmt: skip


class Merge:
    """A model, the base under it where it is an adapter, and a delta, read side by side."""

    def __init__(
        self, model: Sequence[Path], model_base: Sequence[Path], delta: Path, meta: dict[str, Any],
        digests: Digests | None = None,
    ) -> None:  # fmt: skip
        self.meta, self._model, self._model_base, self._known = meta, model, model_base, digests
        self.what = model[0].parent.name
        self.adapter: Adapter | None = None
        if "adapter_config.json" in by_name(model):
            self.adapter = load_plain(model, "a delta cannot be added to it block by block")
        self.network = WeightStream(model_base if self.adapter else model, self.what, digests)
        self.stored = WeightStream([delta], str(meta["name"]), digests)
        self.distance: Distance | None = None
        self._buffers = Buffers()
        self._turn = 0
        self._written: dict[str, str] = {}
        try:
            self.delta = DeltaFile(self.stored, meta["tensors"])
            self.copies = self._check_tensors()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Merge":
        return self

    def __exit__(self, *_: object) -> None:
        self.network.__exit__()
        self.stored.__exit__()
        if self.distance:
            self.distance.base.__exit__()

    def _check_tensors(self) -> dict[str, str]:
        """Tensor of the model -> that whose delta it gets, where it is another's stored copy."""
        found = self.network.tensors
        tied = self.network.tied_copies()
        copies = {one: two for one, two in tied.items() if one not in self.delta.shapes}
        for name in sorted((set(found) - set(copies)) ^ set(self.delta.shapes)):
            if name in found:
                raise AtlasError(
                    f"{self.what}: has a tensor {name}, for which the delta {self.meta['name']} has "
                    "nothing; apply it to a model of its own base."
                )
            raise AtlasError(
                f"{self.what}: has no tensor {name}, for which the delta {self.meta['name']} has a "
                "change; apply it to a model of its own base."
            )
        for name, tensor in found.items():
            refuse_dtype(self.what, name, tensor)
            other = self.delta.shapes[copies.get(name, name)]
            refuse_shapes(name, other, f"the delta {self.meta['name']}", tensor.shape, self.what)
        if self.adapter:
            if not any(f"{name}.weight" in found for name in self.adapter.modules):
                raise AtlasError(
                    f"{self.adapter.name}: its base is stored under other names than its network has, "
                    "as multimodal ones are, or is another; merge the adapter (PEFT's "
                    "merge_and_unload), and apply the delta to the merged model."
                )
            check_fits(self.adapter, {name: t.shape for name, t in found.items()})
        return copies

    def write(
        self, weights: Sequence[Path], names: Sequence[str], base: Sequence[Path] | None = None
    ) -> None:
        """Write the merged weights, in one file or in several and their index.

        :param base: of the delta, for a model that records none: they are compared on the way.
        """
        found = self.network.tensors
        if base is not None and self.adapter is None:
            self.distance = Distance(base, self.meta, self._known)
            self.distance.check(self.delta.shapes)
        sizes = {n: math.prod(t.shape) * t.dtype.itemsize for n, t in found.items()}
        groups = shard_groups(sizes, max(len(weights) - 1, 1))
        progress = Progress(len(found), "tensor")
        metadata = {"format": "pt", "delta_sha256": str(self.meta["delta_sha256"])}
        for path, final, group in zip(weights, names, groups, strict=False):
            kinds: Kinds = {n: (found[n].dtype, found[n].shape) for n in group}
            with StreamWriter(path, kinds, metadata, self._known) as writer:
                for name in writer.order:
                    self._write_tensor(name, writer)
                    progress.step(name)
            self._written[final] = writer.sha256
        if len(weights) > 1:
            write_index(weights[-1], names, groups, sum(sizes.values()))
        if self.stored.digest() != self.meta["delta_sha256"]:
            raise AtlasError(
                f"{self.meta['name']}: delta.safetensors is not the file that its delta_meta.json "
                "describes; make the delta again."
            )

    def _write_tensor(self, name: str, writer: StreamWriter) -> None:
        tensor = self.network.tensors[name]
        dtype, columns = tensor.dtype, tensor.columns
        for first, after, total in self._sums(name, tensor.shape):
            result = total.view(-1)
            if dtype != torch.float32:
                result = self._buffers.get(f"result{self._turn}", total.numel(), dtype)
                result.copy_(total.view(-1))
            square = square_sum(total)
            large = square >= torch.finfo(dtype).max ** 2
            if not math.isfinite(square) or (large and not bool(torch.isfinite(result).all())):
                raise self._blame(name, first, after)
            writer.write(name, first * columns, result)

    def _sums(self, name: str, shape: tuple[int, ...]) -> Iterator[tuple[int, int, torch.Tensor]]:
        """First row, row after the last, and the sum of each block, valid until the next but one."""
        module = self.adapter.modules.get(name.removesuffix(".weight")) if self.adapter else None
        delta = self.copies.get(name, name)
        for first, after in row_blocks(shape):
            self._turn = 1 - self._turn
            begin = self.network.rows(name, first, after)
            total = self._buffers.single(f"total{self._turn}", begin)
            if module is not None:
                total.add_(module.rows(first, after).delta(total))
            if self.distance is not None and name == delta:
                self.distance.add(name, first, after, total)
            yield first, after, total.add_(self.delta.block(delta, first, after))

    def _blame(self, name: str, first: int, after: int) -> AtlasError:
        """Why a sum is not finite."""
        if not bool(torch.isfinite(self.network.rows(name, first, after)).all()):
            return AtlasError(f"{self.what}: the tensor {name} has NaN or Inf; mend these weights.")
        delta = self.delta.block(self.copies.get(name, name), first, after)
        if not bool(torch.isfinite(delta).all()):
            return AtlasError(
                f"{self.meta['name']}: the delta of {name} has NaN or Inf; make the delta again."
            )
        dtype = str(self.network.tensors[name].dtype).removeprefix("torch.")
        return AtlasError(
            f"{self.what}: {name} plus its delta overflows {dtype}; apply the delta to a float32 "
            "model."
        )

    def digests(self) -> dict[str, str]:
        """SHA-256 of what went in and of what came out."""
        network = self.network.digest()
        parts = {"model": network}
        if self.adapter:
            file = by_name(self._model)["adapter_model.safetensors"]
            digest = self._known.sha256(file) if self._known else sha256_file(file)
            parts = {"model's base": network, "adapter": digest}
        record = read_json(by_name(self._model_base)["base.json"])
        if self.adapter and network != record["weights_sha256"]:
            raise AtlasError(
                f"{record['name']}: its weights are not those that its base.json records; fetch the "
                "base again."
            )
        return {
            **parts,
            "base of the delta": self.meta["base"]["weights_sha256"],
            "instruct model of the delta": self.meta["instruct"]["weights_sha256"],
            "delta": self.meta["delta_sha256"],
            "weights": joint_digest(self._written),
        }
