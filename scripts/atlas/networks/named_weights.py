"""Weights of models by the names that the network has for them, whatever their files call them."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from atlas.files import by_name, read_json
from atlas.networks.architectures import blank, load, own_path, text_path
from atlas.networks.full_models import FullModel, check_architecture
from atlas.networks.peft_adapters import merged_by_peft, no_weights
from atlas.weights.adapters import Adapter, check_fits, load_adapter
from atlas.weights.lora import LoraModule
from atlas.weights.matrix_changes import Change, Dense, LowRank
from atlas.weights.tensors import Weights, write_safetensors

MAIN_MEMORY = torch.device("cpu")


def own_tensors(network: Any) -> dict[str, torch.Tensor]:
    """What a network stores, without the names that are tied to another."""
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    return {name: tensor for name, tensor in network.state_dict().items() if name not in tied}


def published_tensors(network: Any) -> dict[str, torch.Tensor]:
    """What a network stores, as files on a hub name it: one tensor per expert, heads of old names.

    Older transformers know these names only, and make up what they do not find.
    """
    from transformers.core_model_loading import revert_weight_conversion

    found: dict[str, torch.Tensor] = revert_weight_conversion(network, own_tensors(network))
    return found


class NamedWeights(Mapping[str, torch.Tensor]):
    """Weights of a base or of a full model, as its network names them, in the order of the names.

    They are read from the files where these have the same names (and possibly more: tied copies,
    buffers); else transformers loads the network once, and they are read from a file beside.

    :param files: of the model, config.json among them.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.folder = files[0].parent
        self.blank = network = blank(self.folder)
        self.config = network.config
        self.tied: dict[str, str] = dict(getattr(network, "all_tied_weights_keys", None) or {})
        self.text = text_path(network)
        own = {n: t for n, t in own_tensors(network).items() if t.is_floating_point()}
        self._shapes = {name: tuple(own[name].shape) for name in sorted(own)}
        self._found = Weights(files)
        if any(name not in self._found or self._found.shape(name) != shape
               for name, shape in self._shapes.items()):  # fmt: skip
            self._scratch = tempfile.TemporaryDirectory(prefix="atlas-weights-")
            file = Path(self._scratch.name) / "model.safetensors"
            write_safetensors(file, own_tensors(load(self.folder, "auto", MAIN_MEMORY)), {})
            self._found = Weights([file])

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._found[name]

    def name_of(self, name: str, base: NamedWeights) -> str:
        """The name that a tensor of a base has here, where its text model may be called otherwise."""
        if name.startswith(f"{base.text}."):
            name = f"{self.text}{name.removeprefix(base.text)}"
        return self.tied.get(name, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, without reading it."""
        return self._shapes[self.tied.get(name, name)]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors, those that are tied to another too."""
        return self._shapes | {name: self.shape(name) for name in self.tied}

    @property
    def elements(self) -> int:
        """Number of its weights, those that are tied once."""
        return sum(math.prod(self.shape(name)) for name in self)

    def network(self) -> Any:
        """The whole network in main memory, float32; it is loaded once."""
        return self._network

    @cached_property
    def _network(self) -> Any:
        return load(self.folder, "float32", MAIN_MEMORY).eval().requires_grad_(False)


def changes(files: Sequence[Path], base: NamedWeights) -> Iterator[tuple[str, torch.Tensor]]:
    """DW of a model, float32, tensor by tensor, by their names in the base; those that stay are left out.

    Of a vocabulary that grew or shrank, the tokens that both have count.

    :param files: of an adapter or a full model.
    :raises AtlasError: where the model does not fit the base, or changes no weights.
    """
    for name, change in matrix_changes(files, base):
        delta = change.values
        if delta.numpy().any():  # NumPy ends at the first that is not zero
            yield name, delta


def matrix_changes(
    files: Sequence[Path], base: NamedWeights, only: Container[str] | None = None
) -> Iterator[tuple[str, Change]]:
    """As :func:`changes`, before dW is formed or read; it may turn out to be zero.

    :param only: names in the base of the tensors that are wanted (default: all).
    :raises AtlasError: as there.
    """
    if not any(file.name == "adapter_config.json" for file in files):
        model = FullModel(files[0].parent.name, files[0].parent)
        check_architecture(base.config, model)
        own = NamedWeights(files)
        yield from _differences(own, base, only, partial(own.name_of, base=base))
        return
    adapter = load_adapter(files)
    if isinstance(adapter, Adapter):
        adapter = adapter.moved(own_path(base.blank, adapter.modules), base.text)
        check_fits(adapter, base.shapes())
        for name in sorted(adapter.modules):
            module, tensor = adapter.modules[name], f"{name}.weight"
            tensor = base.tied.get(tensor, tensor)
            if only is None or tensor in only:
                yield (
                    tensor,
                    LowRank(module)
                    if isinstance(module, LoraModule)
                    else Dense(base.shape(tensor), lambda m=module, t=tensor: m.delta(base[t])),
                )
        return
    merged = own_tensors(merged_by_peft(base.network(), adapter))
    yield from _differences(merged, base, only, held=True)


def unchanged(files: Sequence[Path]) -> str:
    """Why a model changes no weights of its base; nothing where it changes some.

    :param files: of an adapter or a full model.
    """
    settings = by_name(files).get("adapter_config.json")
    return no_weights(read_json(settings)) if settings else ""


def incomparable(
    bases: Mapping[str, NamedWeights], files: Mapping[str, Sequence[Path]],
    models: Sequence[Mapping[str, Any]],
) -> str:  # fmt: skip
    """Why models cannot be compared by the changes of their weights; nothing where they can.

    :param files: model -> its files. :param models: name and base of each.
    """
    layouts = {b: [(name, base.shape(name)) for name in base] for b, base in bases.items()}
    first = models[0]["base"]
    for model in models:
        if layouts[model["base"]] != layouts[first]:
            return f"{model['base']} and {first} have weights of different shapes"
        if reason := unchanged(files[model["name"]]):
            return f"{model['name']}: {reason}"
    return ""


def _differences(
    found: Mapping[str, torch.Tensor], base: NamedWeights, only: Container[str] | None,
    name_of: Callable[[str], str] = lambda name: name, *, held: bool = False,
) -> Iterator[tuple[str, Dense]]:  # fmt: skip
    """:param name_of: name of a tensor of the base -> its name among those found."""
    shapes = found.shapes() if isinstance(found, NamedWeights) else {
        name: tuple(tensor.shape) for name, tensor in found.items()
    }  # fmt: skip
    for name in base:
        if (only is not None and name not in only) or (own := name_of(name)) not in shapes:
            continue
        new, old = shapes[own], base.shape(name)
        if new[1:] == old[1:]:
            rows = min(new[0], old[0])
            read = partial(_difference, found, own, base, name, rows)
            yield name, Dense((rows, *old[1:]), read, held)


def _difference(
    found: Mapping[str, torch.Tensor], own: str, base: NamedWeights, name: str, rows: int
) -> torch.Tensor:
    return found[own].float()[:rows] - base[name].float()[:rows]
