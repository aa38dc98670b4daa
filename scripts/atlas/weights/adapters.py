"""Adapters as PEFT saves them: read, checked, written, merged; each family has a file of its own."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.files import by_name, write_bytes
from atlas.guarded_patterns import matches
from atlas.weights.adapted_module import PREFIX, AdaptedModule
from atlas.weights.adapter_settings import read_settings
from atlas.weights.ia3 import Ia3Module
from atlas.weights.lora import LoraModule
from atlas.weights.portable_settings import portable_adapter
from atlas.weights.tensors import CONVERT, Weights, check_finite, check_stored, write_safetensors

FAMILIES: tuple[type[AdaptedModule], ...] = (LoraModule, Ia3Module)
# Settings of PEFT that say how an adapter was trained, or that its tensors say, too.
TOLD = frozenset({
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "loftq_config", "megatron_core", "peft_type",
    "peft_version", "qalora_group_size", "revision", "target_modules", "task_type",
})  # fmt: skip
# Of init_lora_weights, those that leave the base as it is.
INITIAL = (True, False, None, "gaussian", "eva", "orthogonal")
CAUSAL = ("CAUSAL_LM", "SEQ_2_SEQ_LM", None)


@dataclass(frozen=True)
class Adapter:
    """An adapter; modules are named as in the base model."""

    name: str
    family: type[AdaptedModule]
    modules: Mapping[str, AdaptedModule]
    config: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)

    def pinned(self) -> "Adapter":
        """The same adapter in pinned memory."""
        modules = {n: m.with_tensors(torch.Tensor.pin_memory) for n, m in self.modules.items()}
        return replace(self, modules=modules)

    def moved(self, path: str, to: str) -> "Adapter":
        """The same adapter, with what stands under one path (of its module names) under another."""
        start = f"{path}." if path else ""
        modules = {f"{to}.{name.removeprefix(start)}" if name.startswith(start) else name: module
                   for name, module in self.modules.items()}  # fmt: skip
        return self if path == to else replace(self, modules=modules)

    def some(self, names: Collection[str]) -> dict[str, AdaptedModule]:
        """Some of its modules."""
        return {name: self.modules[name] for name in names}


@dataclass(frozen=True)
class PeftAdapter:
    """An adapter that PEFT applies (:mod:`atlas.networks.peft_adapters`), from its two files."""

    name: str
    weights: Path
    config: dict[str, Any]
    metadata: dict[str, str]

    @property
    def method(self) -> str:
        """The kind of adapter, PEFT's peft_type."""
        return str(self.config["peft_type"]).upper()


def is_off(value: Any) -> bool:
    """Whether a setting of PEFT asks for nothing."""
    return value in (None, False, "", "none", [], {})


def load_adapter(files: Sequence[Path]) -> Adapter | PeftAdapter:
    """Read an adapter from its configuration and its tensors.

    :param files: paths that include adapter_config.json and adapter_model.safetensors.
    :raises AtlasError: for NaN or Inf, for empty or quantised tensors, for tensors that do not match
        the configuration.
    """
    named = by_name(files)
    for needed in ("adapter_config.json", "adapter_model.safetensors"):
        if needed not in named:
            pickled = "adapter_model.bin" in named and f"; adapter_model.bin is a pickle: {CONVERT}"
            raise AtlasError(f"{files[0].parent}: an adapter has a file {needed}{pickled or ''}.")
    file = named["adapter_model.safetensors"]
    config = read_settings(named["adapter_config.json"])
    stored = Weights([file])
    weights = {name: stored[name] for name in stored}
    check_stored(weights, str(file), adapter=True)
    where = file.parent.name
    if is_plain(config, weights):
        return adapter_from(where, config, weights, stored.metadata)
    return PeftAdapter(where, file, config, stored.metadata)


def load_modules(files: Sequence[Path], names: Collection[str]) -> Mapping[str, AdaptedModule]:
    """Some modules of a plain adapter from its files, which :func:`load_adapter` has looked through."""
    named = by_name(files)
    file = named["adapter_model.safetensors"]
    stored, starts = Weights([file]), tuple(f"{PREFIX}{name}." for name in names)
    weights = {name: stored[name] for name in stored if name.startswith(starts)}
    return adapter_from(
        file.parent.name, read_settings(named["adapter_config.json"]), weights, {}
    ).modules


def load_plain(files: Sequence[Path], why: str) -> Adapter:
    """As :func:`load_adapter`, where only plain LoRA or IA3 will do.

    :param why: what cannot be done with another, as the end of a sentence.
    :raises AtlasError: for another.
    """
    found = load_adapter(files)
    if isinstance(found, PeftAdapter):
        raise AtlasError(
            f"{found.name}: is no plain LoRA or IA3, and {why}; merge it (PEFT's merge_and_unload), "
            "and give the merged model with kind: full."
        )
    return found


def _family(config: Mapping[str, Any]) -> type[AdaptedModule] | None:
    method = str(config.get("peft_type", "")).upper()
    return next((family for family in FAMILIES if family.NAME.upper() == method), None)


def is_plain(config: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether an adapter is LoRA or IA3 of linear modules, and nothing beside.

    :param names: of its tensors.
    """
    family = _family(config)
    if family is None or config.get("init_lora_weights") not in INITIAL:
        return False
    if config.get("task_type") not in CAUSAL:
        return False
    if not all(is_off(config[key]) for key in config.keys() - TOLD - family.SETTINGS):
        return False
    # Experts one by one, routers and what sees pictures, as transformers had them before version 5,
    # PEFT rewrites.
    own = rf"{re.escape(PREFIX)}(?!(.*\.)?(experts\.\d+|gate|router|vision_\w+)\.).+\.{family.PART}"
    return all(re.fullmatch(own, name) for name in names)


def adapter_from(
    where: str,
    config: dict[str, Any],
    weights: Mapping[str, torch.Tensor],
    metadata: dict[str, str],
) -> Adapter:
    """A plain adapter from its configuration and its tensors, named as by PEFT (:func:`load_adapter`)."""
    family = _family(config)
    assert family is not None
    modules = family.read_all(weights, config, where)
    _refuse_untold(where, config, modules)
    return Adapter(where, family, modules, config, metadata)


def _refuse_untold(where: str, config: Mapping[str, Any], modules: Iterable[str]) -> None:
    """Refuse weights of modules that the configuration has no adapter on: PEFT drops them.

    Names and patterns are those of the network that was trained, as in its configuration.

    :raises AtlasError: naming the first.
    """
    names = list(modules)
    targets, excluded = config.get("target_modules"), config.get("exclude_modules")
    told = set(names) if targets in (None, [], "all-linear") else _picked(names, targets, where)
    if isinstance(targets, list):
        told &= {name for name in names if name in targets or _is_in_layers(name, config)}
    if excluded:
        told -= _picked(names, excluded, where)
    if untold := [name for name in names if name not in told]:
        raise AtlasError(
            f"{where}: has weights of {untold[0]}, and its adapter_config.json has no adapter on it "
            "(target_modules, exclude_modules, layers_to_transform), so that PEFT leaves them out; mend "
            "the configuration, or save the adapter again."
        )


def _picked(names: Sequence[str], by: str | list[str], where: str) -> set[str]:
    """The names that a pattern matches as a whole, or that one of a list is or ends."""
    if isinstance(by, str):
        return matches([(by, names)], where)[0]
    return {name for name in names if f".{name}".endswith(tuple(f".{end}" for end in by))}


def _is_in_layers(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a module is in one of the layers that were asked for, as PEFT finds its layer."""
    layers, lists = config.get("layers_to_transform"), config.get("layers_pattern")
    if layers in (None, []):
        return True
    named = [lists] if isinstance(lists, str) else lists
    before = rf"(?:.*?\.|)(?:{'|'.join(map(re.escape, named))})" if named else r".*?\.[^.]*"
    layer = re.match(rf"{before}\.(\d+)\.", name)
    return layer is not None and int(layer[1]) in ([layers] if isinstance(layers, int) else layers)


def check_fits(adapter: Adapter, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse an adapter whose shapes are not those of the base.

    :param shapes: tensor name -> shape of the base.
    :raises AtlasError: naming the first module that differs.
    """
    for name, module in adapter.modules.items():
        shape = shapes.get(f"{name}.weight")
        if shape is None:
            raise AtlasError(f"{adapter.name}: the base has no module {name}; is it another base?")
        if found := module.misfit(tuple(shape)):
            raise AtlasError(
                f"{adapter.name}: {name} is made for a matrix of shape {found}, and that of "
                f"the base is {tuple(shape)}; it is an adapter of another base."
            )


def merged(base: Weights, adapter: Adapter) -> dict[str, torch.Tensor]:
    """Weights of the base with the adapter added, in float32, rounded once to the base's dtype.

    :raises AtlasError: where the adapter does not fit.
    """
    check_fits(adapter, {name: base.shape(name) for name in base})
    tensors: dict[str, torch.Tensor] = {}
    for name in base:
        weight = base[name]
        module = adapter.modules.get(name.removesuffix(".weight"))
        if module is not None:
            weight = (weight.float() + module.delta(weight)).to(weight.dtype)
        tensors[name] = weight
    return tensors


def write_adapter(
    weights: Path,
    config: Path,
    tensors: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    metadata: Mapping[str, str],
) -> None:
    """Write an adapter: float32 tensors with PEFT's names, a configuration with sorted keys.

    :param tensors: as ``get_peft_model_state_dict`` names them.
    :param settings: the PEFT configuration as a dictionary; sets become sorted lists, and what an
        older PEFT refuses and says nothing is left out.
    """
    check_finite(tensors, "the trained adapter")
    write_safetensors(
        weights, {name: t.float() for name, t in tensors.items()}, {"format": "pt", **metadata}
    )

    def plain(value: Any) -> Any:
        if isinstance(value, set | frozenset):
            return sorted(value)
        return getattr(value, "value", None) or str(value)

    text = json.dumps(
        portable_adapter(settings), indent=2, sort_keys=True, default=plain, ensure_ascii=False
    )
    write_bytes(config, (text + "\n").encode())
