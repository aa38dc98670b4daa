"""Networks whose weights stay in their files, and are read one decoder layer at a time as it computes.

The modules and the forward pass are transformers' own: masks, positions, what a layer gets. In the
place of its weights a layer has nothing until it is called; then they are put in, and taken out
after. Of embeddings the rows of the tokens are read, of the output embeddings blocks of rows. Where
models advance together (:mod:`atlas.networks.lockstep`), a layer is read once for all of them.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NoReturn

import torch

from atlas.errors import AtlasError
from atlas.networks import lockstep
from atlas.networks.architectures import load, text_path
from atlas.networks.full_models import FullModel, check_architecture
from atlas.networks.peft_adapters import name_in_base, peft_unread, shadow
from atlas.networks.stored_weights import StoredWeights, check_files
from atlas.networks.swap import fitting
from atlas.weights.adapted_module import AdaptedModule
from atlas.weights.adapters import Adapter, PeftAdapter, load_modules
from atlas.weights.tensors import check_finite

BLOCK = 1 << 25  # elements of output embeddings in memory at a time: 128 MiB in float32
# Modules of a plain adapter, by names in the network of those that are wanted.
Parts = Callable[[Collection[str]], Mapping[str, AdaptedModule]]
# A module, the name of one of its tensors there, and the name of the tensor in the base.
Place = tuple[Any, str, str]


class Layers:
    """The weights of a base or a full model in their files, and networks that compute with them.

    :param finite: what is read is refused where it has NaN or Inf.
    :raises AtlasError: where a file is damaged, a tensor is missing, is one too many or has another
        shape; no weights are read.
    """

    def __init__(
        self, folder: Path, dtype: str, device: torch.device, *, finite: bool = False
    ) -> None:
        self.device, self._dtype, self._finite = device, dtype, finite
        check_files(folder)
        self._blank = load(folder, dtype, device, empty=True).eval().requires_grad_(False)
        self.stored = StoredWeights(folder, self._blank)
        _compute_buffers(self._blank, self.stored, device)
        text = text_path(self._blank)
        self._text = f"{text}." if text else ""
        # Of layers that are alike, one after the other stands in the same memory.
        self._room: dict[tuple[str, torch.Size, torch.dtype], torch.Tensor] = {}
        self._held: tuple[str, dict[str, torch.Tensor]] = ("", {})

    def base(self) -> Any:
        """A network that computes as these weights do."""
        return self._reading(shadow(self._blank, lambda _: False))

    @contextlib.contextmanager
    def applied(
        self, model: Adapter | PeftAdapter | FullModel, files: Sequence[Path] = ()
    ) -> Iterator[Any]:
        """As :func:`atlas.networks.shards.applied`.

        :param files: of a plain adapter, which then is read by layers, too.
        """
        match model:
            case Adapter():
                network = self._adapted(model, files)
            case FullModel():
                network = self._full(model)
            case PeftAdapter():
                with _unread(partial(_refuse, model)):
                    yield self._by_peft(model)
                return
        del model
        yield network

    def _adapted(self, adapter: Adapter, files: Sequence[Path]) -> Any:
        """A network that computes as with a plain adapter.

        :param files: of the adapter, from which its modules are read when their layer is; else they
            are those in memory.
        :raises AtlasError: where it does not fit.
        """
        own = fitting(self._blank, adapter)
        if not files:
            return self._reading(shadow(self._blank, lambda _: False), set(own.modules), own.some)
        names = dict(zip(own.modules, adapter.modules, strict=True))

        def read(wanted: Collection[str]) -> Mapping[str, AdaptedModule]:
            found = load_modules(files, [names[name] for name in wanted])
            return {name: found[names[name]] for name in wanted}

        return self._reading(shadow(self._blank, lambda _: False), set(own.modules), read)

    def _by_peft(self, adapter: PeftAdapter) -> Any:
        """A network that computes as with an adapter that PEFT applies.

        :raises AtlasError: where it does not fit, or computes with more of the base than a layer.
        """
        computing, network = peft_unread(self._blank, adapter)
        if computing is None:
            _refuse(adapter)
        self._reading(network, of=adapter)
        for tensor in itertools.chain(computing.parameters(), computing.buffers()):
            if not tensor.is_meta:
                tensor.data = tensor.data.to(self.device)
        return computing

    def _full(self, model: FullModel) -> Any:
        """A network that computes as a full model of the base, from its own files.

        :raises AtlasError: where it is none of the base, or its files are damaged.
        """
        check_architecture(self._blank.config, model)
        return Layers(model.folder, self._dtype, self.device, finite=True)._alone()

    def _alone(self) -> Any:
        """As :meth:`base`, with nothing in memory between two layers."""
        return self._reading(shadow(self._blank, lambda _: False), keep=False)

    def _reading(
        self, network: Any, adapted: Collection[str] = (), parts: Parts | None = None, *,
        keep: bool = True, of: PeftAdapter | None = None,
    ) -> Any:  # fmt: skip
        """Let the modules of a network read their weights when they compute.

        :param network: has the tensors of the blank one. :param adapted, parts: modules that a
            plain adapter changes. :param keep: whether a layer stays in memory until the next one.
        :param of: an adapter that PEFT has put into the network.
        """
        layers = _layers(network)
        for number, (path, layer) in enumerate(layers.items()):
            inside = sorted(name for name in adapted if name.startswith(f"{path}."))
            modules = {name: network.get_submodule(name) for name in inside}
            places = self._places(layer, f"{path}.", of)
            layer.forward = partial(
                self._step, number, path, places, modules, parts, keep, layer.forward
            )
        outside = [name for name in adapted if not name.startswith(tuple(f"{p}." for p in layers))]
        if outside and parts:
            for name, part in parts(outside).items():
                module = network.get_submodule(name)
                self._beside(part, module).attach(module)
        for name, module in network.named_modules():
            if not name.startswith(tuple(f"{path}." for path in layers)) and name not in layers:
                self._put_outside(module, f"{name}." if name else "", of)
        network.by_layer = self
        return network

    def _places(
        self, module: Any, path: str, of: PeftAdapter | None, *, inner: bool = True
    ) -> list[Place]:
        """What a module, and those inside, have no values for."""
        found = []
        for name, part in module.named_modules() if inner else [("", module)]:
            before = f"{path}{name}." if name else path
            for leaf, tensor in {**part._parameters, **part._buffers}.items():
                if tensor is None or not tensor.is_meta:
                    continue
                own = name_in_base(f"{before}{leaf}")
                # Of another vocabulary, it is no longer that of the base.
                if own in self.stored and tensor.shape == self._own(own).shape:
                    found.append((part, leaf, own))
                elif of is not None:
                    _refuse(of)
        return found

    def _put_outside(self, module: Any, path: str, of: PeftAdapter | None) -> None:
        """What stands outside the layers: read at once, or, of embeddings, as it is asked for."""
        places = self._places(module, path, of, inner=False)
        for place in places:
            _, leaf, name = place
            stored = self.stored.stored_name(name)
            if leaf == "weight" and stored in self._ends and isinstance(module, torch.nn.Embedding):
                module.forward = partial(self._embed, module, name, module.forward)
            elif leaf == "weight" and stored in self._ends and type(module) is torch.nn.Linear:
                module.forward = partial(self._project, module, name)
            elif name.startswith(self._text) or stored in self._ends or self._beside_head(name):
                _put([place], {name: self._outside(name)})

    @cached_property
    def _ends(self) -> set[str]:
        """Names of the tensors of input and output embeddings."""
        return {
            self.stored.stored_name(name)
            for name, _ in self._blank.named_parameters()
            for end in (self._blank.get_input_embeddings(), self._blank.get_output_embeddings())
            if end is not None and self._blank.get_submodule(name.rpartition(".")[0]) is end
            and name.endswith(".weight")
        }  # fmt: skip

    def _beside_head(self, name: str) -> bool:
        head = self._blank.get_output_embeddings()
        return head is not None and self._blank.get_submodule(name.rpartition(".")[0]) is head

    def _outside(self, name: str) -> torch.Tensor:
        key = (name, self._own(name).shape, self._own(name).dtype)
        if key not in self._room:
            self._read([name], lambda _: key)
        return self._room[key]

    def _own(self, name: str) -> torch.Tensor:
        module, _, leaf = name.rpartition(".")
        found: torch.Tensor = getattr(self._blank.get_submodule(module), leaf)
        return found

    @torch.inference_mode(False)
    @torch.no_grad()
    def _read(
        self, names: Collection[str], key: Callable[[str], tuple[str, torch.Size, torch.dtype]]
    ) -> None:
        """Read tensors into the memory that stands under their keys."""

        def room(name: str) -> torch.Tensor:
            place = key(name)
            if place not in self._room:
                self._room[place] = torch.empty(place[1], dtype=place[2], device=self.device)
            return self._room[place]

        self.stored.read(names, room)
        if self._finite:
            check_finite({name: room(name) for name in names}, self.stored.folder.name)

    def _layer(self, path: str, names: Collection[str]) -> dict[str, torch.Tensor]:
        """The tensors of a layer; those of the layer before are no longer valid."""
        if self._held[0] != path:
            keys = {
                name: (f"*{name.removeprefix(path)}", self._own(name).shape, self._own(name).dtype)
                for name in names
            }
            kept = {key for key in self._room if not key[0].startswith("*")} | set(keys.values())
            self._room = {key: tensor for key, tensor in self._room.items() if key in kept}
            self._held = ("", {})
            self._read(names, keys.__getitem__)
            self._held = (path, {name: self._room[key] for name, key in keys.items()})
            paths = list(self._named)
            self.stored.will_read(self._named[paths[(paths.index(path) + 1) % len(paths)]])
        return self._held[1]

    def _release(self) -> None:
        """Forget the layer that was read last."""
        self._held = ("", {})
        self._room = {k: t for k, t in self._room.items() if not k[0].startswith("*")}

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        """Names of the stored tensors of each layer."""
        stored = [name for name in self._blank.state_dict() if name in self.stored]
        return {
            path: [name for name in stored if name.startswith(f"{path}.")]
            for path in _layers(self._blank)
        }

    def _step(
        self, number: int, path: str, places: list[Place], modules: Mapping[str, Any],
        parts: Parts | None, keep: bool, forward: Callable[..., Any], *inputs: Any, **more: Any,
    ) -> Any:  # fmt: skip
        """A layer's forward pass."""

        def compute() -> Any:
            tensors = self._layer(path, self._named[path])
            with contextlib.ExitStack() as stack:
                stack.callback(_put, places, _put(places, tensors))
                if not keep:
                    stack.callback(self._release)
                for name, part in (parts(list(modules)) if parts and modules else {}).items():
                    near = self._beside(part, modules[name])
                    stack.callback(near.attach(modules[name]).remove)
                return forward(*inputs, **more)

        return lockstep.step(number, compute)

    def _beside(self, part: AdaptedModule, module: Any) -> AdaptedModule:
        dtype = module.weight.dtype
        return part.with_tensors(lambda values: values.to(self.device, dtype))

    def _embed(
        self, module: Any, name: str, forward: Callable[..., Any], tokens: torch.Tensor
    ) -> torch.Tensor:
        """Embeddings, with the rows of these tokens in the place of all."""
        numbers, places = tokens.unique(return_inverse=True)
        rows = self.stored.rows(name, numbers, self.device)
        padding, module.padding_idx = module.padding_idx, None
        before = _put([(module, "weight", name)], {name: rows})
        try:
            found: torch.Tensor = forward(places)
        finally:
            _put([(module, "weight", name)], before)
            module.padding_idx = padding
        return found

    def _project(self, module: Any, name: str, hidden: torch.Tensor) -> torch.Tensor:
        """Logits, block by block of the tokens."""
        linear, bias = torch.nn.functional.linear, module.bias
        return torch.cat(
            [
                linear(hidden, block, None if bias is None else bias[first : first + len(block)])
                for first, block in self.stored.blocks(name, BLOCK, self.device)
            ],
            dim=-1,
        )


class UnreadError(AtlasError):
    """Weights are computed with that are not there: they are read with another layer."""


@contextlib.contextmanager
def _unread(refuse: Callable[[], NoReturn]) -> Iterator[None]:
    """Within this context, what torch says of weights that are not there is refused; the outermost counts."""
    try:
        yield
    except (RuntimeError, UnreadError) as error:
        if isinstance(error, RuntimeError) and "meta" not in str(error).lower():
            raise
        refuse()


@contextlib.contextmanager
def unread_refused(network: Any, where: str) -> Iterator[None]:
    """Within this context, a network computes, which may not be one that can be read layer by layer.

    :raises UnreadError: where it is read so, and computes with more than a layer.
    """

    def refuse() -> NoReturn:
        raise UnreadError(
            f"{where}: its network cannot be read layer by layer; compute it where it fits into memory "
            "(stream: never)."
        )

    with contextlib.nullcontext() if layers_of(network) is None else _unread(refuse):
        yield


def layers_of(network: Any) -> Layers | None:
    """Where a network reads its weights from, layer by layer; None where they are in memory."""
    found: Layers | None = vars(network).get("by_layer")
    return found


def _layers(network: Any) -> dict[str, Any]:
    """What stands in the outermost lists of a network, by its path."""
    lists = [n for n, m in network.named_modules() if isinstance(m, torch.nn.ModuleList)]
    outer = [n for n in lists if not n.startswith(tuple(f"{other}." for other in lists))]
    return {
        f"{path}.{name}": layer
        for path in outer
        for name, layer in network.get_submodule(path).named_children()
    }


def _put(places: Sequence[Place], tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Put tensors into their places, and give what stood there."""
    before = {}
    for module, leaf, name in places:
        tensor = tensors[name]
        if leaf in module._buffers:
            before[name], module._buffers[leaf] = module._buffers[leaf], tensor
            continue
        # One of its own: what a module does to a parameter, others with its memory do not see.
        own = torch.nn.Parameter(tensor, requires_grad=False)
        before[name], module._parameters[leaf] = module._parameters[leaf], own
    return before


def _compute_buffers(network: Any, stored: StoredWeights, device: torch.device) -> None:
    """Buffers that are not stored (rotary frequencies, masks), as transformers makes them."""
    for path, module in network.named_modules():
        for leaf, buffer in list(module._buffers.items()):
            name = f"{path}.{leaf}" if path else leaf
            if buffer is not None and buffer.is_meta and name not in stored:
                module._buffers[leaf] = torch.empty_like(buffer, device=device)
                module._is_hf_initialized = False
    with torch.random.fork_rng(devices=[]):
        network.initialize_weights()


def _refuse(adapter: PeftAdapter) -> NoReturn:
    raise AtlasError(
        f"{adapter.name}: its {adapter.method} adapter computes with more of the base than one layer; "
        "embed it where the base fits into memory (stream: never), or leave this model out."
    )
