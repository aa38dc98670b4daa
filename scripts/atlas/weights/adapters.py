"""Adapters as PEFT saves them: read, checked, written, merged; each family has a file of its own."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.files import by_name, read_json, write_bytes
from atlas.weights.adapted_module import AdaptedModule
from atlas.weights.ia3 import Ia3Module
from atlas.weights.lora import LoraModule
from atlas.weights.tensors import Weights, check_finite, write_safetensors

FAMILIES: tuple[type[AdaptedModule], ...] = (LoraModule, Ia3Module)
UNSUPPORTED = (
    "use_dora",
    "modules_to_save",
    "fan_in_fan_out",
    "trainable_token_indices",
    "target_parameters",
    "lora_bias",
    "bias",
)


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

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        tensors = (value for module in self.modules.values() for value in vars(module).values())
        return sum(value.nbytes for value in tensors if isinstance(value, torch.Tensor))


def alike(one: Adapter, two: Adapter) -> bool:
    """Whether both can compute side by side (:func:`side_by_side`): LoRA of the same shape."""
    # What is routed to an expert is no longer in the order of its rows.
    if one.modules.keys() != two.modules.keys() or any("experts" in n for n in one.modules):
        return False
    return all(
        isinstance(a, LoraModule) and isinstance(b, LoraModule)
        and (a.a.shape, a.b.shape, a.scale) == (b.a.shape, b.b.shape, b.scale)
        for a, b in ((one.modules[name], two.modules[name]) for name in one.modules)
    )  # fmt: skip


def side_by_side(adapters: Sequence[Adapter]) -> Adapter:
    """One adapter of n alike, the first of them for the first nth of the rows of a batch."""
    modules = {
        name: replace(
            module, **{part: torch.stack([getattr(other.modules[name], part) for other in adapters])
                       for part in ("a", "b")}
        )
        for name, module in adapters[0].modules.items()
    }  # fmt: skip
    return replace(adapters[0], modules=modules)


def load_adapter(files: Sequence[Path]) -> Adapter:
    """Read an adapter from its configuration and its tensors.

    :param files: paths that include adapter_config.json and adapter_model.safetensors.
    :raises AtlasError: for what cannot be applied as it stands (DoRA, biases, retrained
        modules, other methods), for NaN or Inf, for tensors that do not match the configuration.
    """
    named = by_name(files)
    for needed in ("adapter_config.json", "adapter_model.safetensors"):
        if needed not in named:
            raise AtlasError(f"{files[0].parent}: an adapter has a file {needed}.")
    stored = Weights([named["adapter_model.safetensors"]])
    weights = {name: stored[name] for name in stored}
    check_finite(weights, str(named["adapter_model.safetensors"]))
    config = read_json(named["adapter_config.json"])
    where = named["adapter_config.json"].parent.name
    return adapter_from(where, config, weights, stored.metadata)


def adapter_from(
    where: str,
    config: dict[str, Any],
    weights: Mapping[str, torch.Tensor],
    metadata: dict[str, str],
) -> Adapter:
    """An adapter from its configuration and its tensors, named as by PEFT (:func:`load_adapter`)."""
    method = str(config.get("peft_type", "")).upper()
    settings = {**config, "bias": config.get("bias", "none") != "none"}
    for key in UNSUPPORTED:
        if settings.get(key):
            raise AtlasError(f"{where}: adapters with {key} are not supported; merge it first.")
    for family in FAMILIES:
        if family.NAME.upper() == method:
            return Adapter(where, family, family.read_all(weights, config, where), config, metadata)
    names = " or ".join(family.NAME for family in FAMILIES)
    raise AtlasError(f"{where}: adapters are {names}, not {method or 'unknown'}.")


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


def check_base(adapter: Adapter, base: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse an adapter that records another base: by digest, else by name.

    :param base: the record of the base at hand (base.json).
    :param names: names under which the base may be recorded.
    :raises AtlasError: where the digest, or the name, is another one.
    """
    digest = adapter.metadata.get("base_sha256")
    if digest is not None:
        if digest != base["weights_sha256"]:
            raise AtlasError(
                f"{adapter.name}: was trained from a base with the digest {digest[:12]}…, and "
                f"{base['name']} has {str(base['weights_sha256'])[:12]}…; name its own base."
            )
        return
    recorded = adapter.config.get("base_model_name_or_path")
    # Only org/name says which base is meant; a path says where somebody had it.
    is_name = isinstance(recorded, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", recorded)
    if is_name and recorded.lower() not in {name.lower() for name in names}:
        raise AtlasError(
            f"{adapter.name}: records the base {recorded}, and {base['name']} is known as "
            f"{', '.join(names)}; name its own base, or add the name to bases.{base['name']}.aliases."
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
    :param settings: the PEFT configuration as a dictionary; sets become sorted lists.
    """
    check_finite(tensors, "the trained adapter")
    write_safetensors(
        weights, {name: t.float() for name, t in tensors.items()}, {"format": "pt", **metadata}
    )

    def plain(value: Any) -> Any:
        if isinstance(value, set | frozenset):
            return sorted(value)
        return getattr(value, "value", None) or str(value)

    text = json.dumps(settings, indent=2, sort_keys=True, default=plain, ensure_ascii=False)
    write_bytes(config, (text + "\n").encode())
