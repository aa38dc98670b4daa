"""Adapters as PEFT saves them: read, checked, written, and as differences of weights.

LoRA (arXiv 2106.09685): dW = scale * B A, with scale = alpha / r (or alpha / sqrt(r) for
rsLoRA). IA3 (arXiv 2205.05638): dW = (l - 1) * W, by output rows, or by input columns where
the module is a feed-forward one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from atlas.errors import AtlasError
from atlas.files import read_json, write_bytes
from atlas.weights.tensors import Weights, check_finite, write_safetensors

PREFIX = "base_model.model."


@dataclass(frozen=True)
class LoraModule:
    """One adapted matrix: ``a`` (r, in), ``b`` (out, r), float32."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float


@dataclass(frozen=True)
class Ia3Module:
    """One scaled module: ``l`` is (out, 1), or (1, in) where the module is feed-forward."""

    l: torch.Tensor  # noqa: E741 - the paper's letter
    feedforward: bool


@dataclass(frozen=True)
class Adapter:
    """An adapter; modules are named as in the base model."""

    name: str
    kind: Literal["lora", "ia3"]
    modules: dict[str, LoraModule | Ia3Module]
    config: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by a canonical name, float32."""
        found: dict[str, torch.Tensor] = {}
        for name, module in self.modules.items():
            if isinstance(module, LoraModule):
                found[f"{name}.lora_A"], found[f"{name}.lora_B"] = module.a, module.b
            else:
                found[f"{name}.ia3_l"] = module.l
        return found

    def pinned(self) -> Adapter:
        """The same adapter in pinned memory."""
        modules: dict[str, LoraModule | Ia3Module] = {}
        for name, module in self.modules.items():
            if isinstance(module, LoraModule):
                modules[name] = replace(module, a=module.a.pin_memory(), b=module.b.pin_memory())
            else:
                modules[name] = replace(module, l=module.l.pin_memory())
        return replace(self, modules=modules)


def load_adapter(files: Sequence[Path]) -> Adapter:
    """Read an adapter from its configuration and its tensors.

    :param files: paths that include adapter_config.json and adapter_model.safetensors.
    :raises AtlasError: for what cannot be applied as it stands (DoRA, biases, retrained
        modules, other methods), for NaN or Inf, for tensors that do not match the configuration.
    """
    named = adapter_files(files)
    stored = Weights([named["adapter_model.safetensors"]])
    weights = {name: stored[name] for name in stored}
    check_finite(weights, str(named["adapter_model.safetensors"]))
    config = read_json(named["adapter_config.json"])
    where = named["adapter_config.json"].parent.name
    return adapter_from(where, config, weights, stored.metadata)


def adapter_files(files: Sequence[Path]) -> dict[str, Path]:
    """Files of an adapter by their names.

    :raises AtlasError: where one of the two that an adapter has is missing.
    """
    named = {file.name: file for file in files}
    for needed in ("adapter_config.json", "adapter_model.safetensors"):
        if needed not in named:
            raise AtlasError(f"{files[0].parent}: an adapter has a file {needed}.")
    return named


def adapter_from(
    where: str,
    config: dict[str, Any],
    weights: Mapping[str, torch.Tensor],
    metadata: dict[str, str],
) -> Adapter:
    """An adapter from its configuration and its tensors, or some of them.

    :param weights: as PEFT names them; on the device ``meta``, only shapes are checked.
    :raises AtlasError: as :func:`load_adapter`.
    """
    method = str(config.get("peft_type", "")).upper()
    unsupported = [
        key for key in ("use_dora", "modules_to_save", "fan_in_fan_out", "trainable_token_indices",
                        "target_parameters", "lora_bias")
        if config.get(key)
    ]  # fmt: skip
    if config.get("bias", "none") != "none":
        unsupported.append("bias")
    if unsupported:
        raise AtlasError(
            f"{where}: adapters with {unsupported[0]} are not supported; merge it first."
        )
    if method == "LORA":
        modules = _lora_modules(weights, config, where)
        return Adapter(where, "lora", modules, config, metadata)
    if method == "IA3":
        modules = _ia3_modules(weights, config, where)
        return Adapter(where, "ia3", modules, config, metadata)
    raise AtlasError(f"{where}: adapters are LoRA or IA3, not {method or 'unknown'}.")


def _lora_modules(
    weights: Mapping[str, torch.Tensor], config: Mapping[str, Any], where: str
) -> dict[str, LoraModule | Ia3Module]:
    modules: dict[str, LoraModule | Ia3Module] = {}
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for name in weights:
        match = re.fullmatch(rf"{re.escape(PREFIX)}(.+)\.lora_([AB])(?:\.default)?\.weight", name)
        if match is None:
            raise AtlasError(f"{where}: the tensor {name} is not part of a LoRA adapter.")
        halves.setdefault(match.group(1), {})[match.group(2)] = weights[name].float()
    for module in sorted(halves):
        pair = halves[module]
        if set(pair) != {"A", "B"}:
            raise AtlasError(f"{where}: {module} has only one of lora_A and lora_B.")
        rank = pair["A"].shape[0]
        expected = _pattern(config.get("rank_pattern"), module, config["r"])
        if pair["B"].shape[1] != rank or rank != expected:
            raise AtlasError(
                f"{where}: {module} has the rank {rank} (A) and {pair['B'].shape[1]} (B), and its "
                f"configuration says {expected}."
            )
        alpha = _pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
        scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        modules[module] = LoraModule(pair["A"], pair["B"], scale)
    if not modules:
        raise AtlasError(f"{where}: the adapter has no tensors.")
    return modules


def _pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return default


def _ia3_modules(
    weights: Mapping[str, torch.Tensor], config: Mapping[str, Any], where: str
) -> dict[str, LoraModule | Ia3Module]:
    modules: dict[str, LoraModule | Ia3Module] = {}
    forward = set(config.get("feedforward_modules") or [])
    for name in weights:
        match = re.fullmatch(rf"{re.escape(PREFIX)}(.+)\.ia3_l(?:\.default)?", name)
        if match is None:
            raise AtlasError(f"{where}: the tensor {name} is not part of an IA3 adapter.")
        module = match.group(1)
        feedforward = any(module == f or module.endswith(f".{f}") for f in forward)
        modules[module] = Ia3Module(weights[name].float(), feedforward)
    if not modules:
        raise AtlasError(f"{where}: the adapter has no tensors.")
    return modules


def weight_delta(module: LoraModule | Ia3Module, weight: torch.Tensor | None) -> torch.Tensor:
    """DW of one module, float32 (out, in).

    :param weight: W, needed for IA3 only.
    """
    if isinstance(module, LoraModule):
        return (module.b @ module.a) * module.scale
    assert weight is not None
    scaled = module.l.reshape(1, -1) if module.feedforward else module.l.reshape(-1, 1)
    return (scaled - 1.0) * weight.float()


def check_fits(adapter: Adapter, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse an adapter whose shapes are not those of the base.

    :param shapes: tensor name -> shape of the base.
    :raises AtlasError: naming the first module that differs.
    """
    for name, module in adapter.modules.items():
        shape = shapes.get(f"{name}.weight")
        if shape is None:
            raise AtlasError(f"{adapter.name}: the base has no module {name}; is it another base?")
        if isinstance(module, LoraModule):
            found = (module.b.shape[0], module.a.shape[1])
            fits = found == tuple(shape)
        else:
            found = (module.l.numel(),)
            fits = module.l.numel() == shape[1 if module.feedforward else 0]
        if not fits:
            raise AtlasError(
                f"{adapter.name}: {name} is made for a matrix of shape {tuple(found)}, and that of "
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
            weight = (weight.float() + weight_delta(module, weight)).to(weight.dtype)
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
