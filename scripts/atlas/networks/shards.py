"""The models of one shard in memory, one after another: each base is loaded once.

While one model computes, the next one's adapter is read and checked on a thread. A base that does not
fit into memory stays in its files, and all models advance through its layers together.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from atlas import device as devices
from atlas import memory
from atlas.files import by_folder, read_json
from atlas.kept import Kept
from atlas.networks.architectures import blank, refuse_seq2seq
from atlas.networks.by_layer import Layers, layers_of
from atlas.networks.full_models import FullModel, check_full, full_applied
from atlas.networks.lockstep import together
from atlas.networks.peft_adapters import peft_applied
from atlas.networks.stored_weights import check_files, size_in_memory
from atlas.networks.swap import adapter_applied, load_base, side_by_side_applied
from atlas.prefetch import prefetched
from atlas.progress import Progress, say
from atlas.weights.adapters import Adapter, PeftAdapter, load_adapter
from atlas.weights.base_names import check_base
from atlas.weights.side_by_side import SideBySide, bytes_together, has_rows_of_its_own

Read = TypeVar("Read")
Found = TypeVar("Found")
AT_ONCE = 64  # models that advance together through the layers of a base

Model = Adapter | PeftAdapter | FullModel


@dataclass(frozen=True)
class Group:
    """Models that are current together, by their names.

    :param together: side by side, where each is a plain adapter; none of another kind has company.
    """

    names: list[str]
    together: SideBySide | None

    @contextlib.contextmanager
    def alone(self, number: int) -> Iterator[None]:
        """Within this context, the network computes all rows as one of them, as if it were alone."""
        assert self.together is not None
        self.together.turn.only = number
        try:
            yield
        finally:
            self.together.turn.only = None


def read_model(
    files: Sequence[Path],
    record: Mapping[str, Any],
    base_names: Sequence[str],
    *,
    pin: bool = False,
) -> Model:
    """A model: its adapter in memory, or what is read as it is applied.

    :param record: the record of the base (base.json).
    :param pin: whether a plain adapter is laid into pinned memory, from which a GPU copies it by
        itself.
    :raises AtlasError: where the model is not one of this base.
    """
    if "adapter_config.json" not in {file.name for file in files}:
        return FullModel(files[0].parent.name, files[0].parent)
    adapter = load_adapter(files)
    check_base(adapter, record, base_names)
    return adapter.pinned() if pin and isinstance(adapter, Adapter) else adapter


def applied(network: Any, model: Model | SideBySide) -> contextlib.AbstractContextManager[Any]:
    """Within this context, the network that is given computes as a model of a base.

    It is the base's own, or one that shares its weights; the base itself is left as it was.

    :param network: the base in memory.
    :raises AtlasError: where the model does not fit it.
    """
    layers = layers_of(network)
    if layers and not isinstance(model, SideBySide):
        return layers.applied(model)
    match model:
        case Adapter():
            return adapter_applied(network, model)
        case SideBySide():
            return side_by_side_applied(network, model)
        case PeftAdapter():
            return peft_applied(network, model)
        case FullModel():
            return full_applied(network, model)


def check_model(network: Any, model: Model) -> None:
    """Refuse a model that does not fit a base, by names and shapes.

    :param network: the base, blank (:func:`atlas.networks.architectures.blank`).
    :raises AtlasError: as :func:`applied` does.
    """
    if isinstance(model, FullModel):
        check_files(model.folder)
        check_full(network, model)
        return
    with applied(network, model):
        return


@contextlib.contextmanager
def loaded_model(
    base: Sequence[Path], model: Sequence[Path], base_names: Sequence[str], dtype: str, *,
    whole: bool = False,
) -> Iterator[Any]:  # fmt: skip
    """A base on the device of the job; the network that is given computes as a model.

    :param model: files of the model; none for the base itself. :param whole: whether the base has
        to be in memory, and cannot be read layer by layer.
    :raises AtlasError: where the model is not one of the base.
    """
    folder = base[0].parent
    copies = 1 + _are_full(model)
    network = load_base(folder, dtype) if whole else base_network(folder, dtype, copies=copies)
    if not model:
        yield network
        return
    with applied(network, read_model(model, read_json(folder / "base.json"), base_names)) as found:
        yield found


def base_network(folder: Path, dtype: str, *, seq2seq: bool = False, copies: int = 1) -> Any:
    """A base in memory (:func:`atlas.networks.swap.load_base`), or one that is read layer by layer.

    :param copies: networks of its size that would be in memory at a time.
    """
    device = devices.choose()
    if not memory.by_layer(copies * size_in_memory(folder, dtype), device):
        return load_base(folder, dtype, seq2seq=seq2seq)
    if not seq2seq:
        refuse_seq2seq(folder)
    devices.prepare()
    say(f"reads {folder.name} layer by layer on {device}")
    return Layers(folder, dtype, device).base()


def _are_full(files: Iterable[Path]) -> bool:
    """Whether there are files of a full model among those of models."""
    return any(file.name == "config.json" for file in files)


def read_ahead(read: Callable[[str], Read], names: Sequence[str]) -> Iterator[Read]:
    """What is read under each name, in order; the next is read while the caller works on one.

    :raises BaseException: what went wrong with a name, when its turn comes.
    """
    with contextlib.closing(prefetched(read, names, threads=1, at_most=2)) as coming:
        for _, future in coming:
            yield future.result()


@dataclass
class LoadedBase:
    """A base in memory, and the models of a shard that are trained from it.

    :param network: computes as the base, or, instead of it, as the model that :meth:`models` is at.
    """

    name: str
    folder: Path
    network: Any
    files: dict[str, list[Path]]
    recorded_names: Sequence[str]
    progress: Progress

    def read(
        self, work: Callable[[Any, str], Found], at_once: int = AT_ONCE
    ) -> Iterator[tuple[str | None, Found]]:
        """What is computed with the base (None), and then with each model, sorted by their names.

        :param work: computes with a network that is given with its name. :param at_once: networks
            that compute together where the base is read layer by layer.
        :raises AtlasError: where a model is not one of this base; where it is read layer by layer,
            before anything is computed.
        """
        layers = layers_of(self.network)
        if layers is None:
            yield None, work(self.network, self.name)
            for name in self.models():
                yield name, work(self.network, name)
            return
        self._check(layers)
        everybody: list[str | None] = [None, *sorted(self.files)]
        for start in range(0, len(everybody), at_once):
            names = everybody[start : start + at_once]
            found = together([partial(self._by_layer, layers, work, name) for name in names])
            for of, one in zip(names, found, strict=True):
                yield of, one
                if of is not None:
                    self.progress.step(of)

    def _check(self, layers: Layers) -> None:
        """Refuse what is wrong with a model, before hours are spent on others."""
        record, network = read_json(self.folder / "base.json"), blank(self.folder)
        for name in sorted(self.files):
            model = read_model(self.files[name], record, self.recorded_names)
            check_model(network, model)
            if isinstance(model, PeftAdapter):
                with layers.applied(model):
                    pass

    def _by_layer(
        self, layers: Layers, work: Callable[[Any, str], Found], name: str | None
    ) -> Found:
        if name is None:
            return work(self.network, self.name)
        record, files = read_json(self.folder / "base.json"), self.files[name]
        with layers.applied(read_model(files, record, self.recorded_names), files) as network:
            return work(network, name)

    def models(self) -> Iterator[str]:
        """Names of its models, sorted; while one is current, the network computes as that model.

        :raises AtlasError: where a model is not one of this base.
        """
        for group in self.groups(1):
            yield group.names[0]

    def groups(self, at_most: int) -> Iterator[Group]:
        """As :meth:`models`, and plain adapters side by side, `at_most` of them; others alone.

        While n are current, the network computes as the first of them in the first nth of the rows
        of a batch, and so on. Together they are at most half as large as the base.
        """
        base, record = self.network, read_json(self.folder / "base.json")
        pin = base.device.type == "cuda"
        room = sum(parameter.nbytes for parameter in base.parameters()) // 2

        def read(name: str) -> Model:
            return read_model(self.files[name], record, self.recorded_names, pin=pin)

        names = sorted(self.files)
        coming = zip(names, read_ahead(read, names), strict=True)
        for models in _together(coming, at_most, room):
            found = [model for _, model in models]
            plain = SideBySide(found) if has_rows_of_its_own(found[0]) else None
            several = len(found) > 1
            try:
                with applied(base, plain if plain and several else found[0]) as self.network:
                    yield Group([name for name, _ in models], plain)
            finally:
                self.network = base
            for name, _ in models:
                self.progress.step(name)


def _together(
    models: Iterable[tuple[str, Model]], at_most: int, room: int
) -> Iterator[list[tuple[str, Any]]]:
    """Models in groups: plain adapters with those that come next, all else alone and at once."""
    waiting: list[tuple[str, Any]] = []
    for name, model in models:
        if not has_rows_of_its_own(model):
            yield [(name, model)]
            continue
        if waiting and bytes_together([*(m for _, m in waiting), model]) > room:
            yield waiting
            waiting = []
        waiting.append((name, model))
        if len(waiting) == at_most:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def of_each(
    prepare: Callable[[LoadedBase], Callable[[Any, str], Found]], read: Callable[[str, str], Found],
    kept: Kept, models: Sequence[dict[str, Any]], *, at_once: int = AT_ONCE, **shard: Any,
) -> Iterator[tuple[str, str, Found]]:  # fmt: skip
    """What is computed with each base ("bases", name), and then with its models ("models", name), sorted.

    :param prepare: gives what computes (:meth:`LoadedBase.read`). :param read: what was computed before,
        by group and name. :param kept: models that need not be computed; a base is loaded where there are
        others. :param models, shard: of :func:`loaded_bases`.
    """
    others = kept.others(models)
    loading = loaded_bases(models=others, **shard)
    for base in sorted({model["base"] for model in models}):
        names = sorted(model["name"] for model in models if model["base"] == base)
        if base not in {model["base"] for model in others}:
            yield "bases", base, read("bases", base)
            yield from (("models", name, read("models", name)) for name in names)
            continue
        loaded = next(loading)
        computed = loaded.read(prepare(loaded), at_once)
        yield "bases", base, next(computed)[1]
        for name in names:
            yield "models", name, read("models", name) if name in kept.models else next(computed)[1]
        next(computed, None)  # it tells of the last model, and gives the base back
        del loaded, computed


def loaded_bases(
    *, bases: Sequence[Path], weights: Sequence[Path], models: Sequence[dict[str, Any]],
    dtypes: dict[str, str], base_names: dict[str, list[str]], seq2seq: bool = False,
    whole: bool = False,
) -> Iterator[LoadedBase]:  # fmt: skip
    """The bases of a shard, one in memory at a time.

    :param bases: files of all bases. :param weights: files of all models.
    :param models: name and base of each model, in any order; a base without models is not loaded.
    :param dtypes: base -> precision. :param base_names: base -> names that adapters may record.
    :param seq2seq: whether sequence-to-sequence bases may be among them.
    :param whole: whether they have to be in memory, and cannot be read layer by layer.
    """
    base_files, model_files = by_folder(bases), by_folder(weights)
    progress = Progress(len(models), "model")
    for base in sorted({model["base"] for model in models}):
        folder = base_files[base][0].parent
        files = {m["name"]: model_files[m["name"]] for m in models if m["base"] == base}
        if whole:
            network = load_base(folder, dtypes[base], seq2seq=seq2seq)
        else:
            copies = 1 + any(_are_full(of) for of in files.values())
            network = base_network(folder, dtypes[base], seq2seq=seq2seq, copies=copies)
        yield LoadedBase(base, folder, network, files, base_names[base], progress)
        del network
