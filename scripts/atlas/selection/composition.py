"""Several LoRA adapters as one: LoraHub's composition, and PEFT's own ways of merging.

LoraHub (arXiv 2307.13269): A = sum of w_i A_i, B = sum of w_i B_i, so that the composed dW holds
cross terms; it is not the sum of products.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import torch

from atlas.errors import AtlasError
from atlas.weights.adapted_module import PREFIX
from atlas.weights.adapters import Adapter, adapter_from
from atlas.weights.lora import LoraModule

Merge = Literal["average", "ties", "dare"]
# PEFT's combination types. The average is exact: the mean of the models' dW, of the sum of ranks.
COMBINATIONS = {"average": "cat", "ties": "ties", "dare": "dare_linear"}


@dataclass(frozen=True)
class Aligned:
    """Adapters brought to one shape.

    :param names: of the adapters, in the order of their weights.
    :param a, b: module -> (n, rank, in) and (n, out, rank) float32.
    :param scale: of all of them, alpha / rank.
    """

    names: tuple[str, ...]
    a: dict[str, torch.Tensor]
    b: dict[str, torch.Tensor]
    rank: int
    scale: float
    config: dict[str, Any]


def aligned(adapters: Sequence[Adapter]) -> Aligned:
    """Adapters of one base in one shape, so that their sums mean something.

    Adapters of equal rank, scale and modules stay as they are. Else smaller ranks, and modules that
    an adapter lacks, are padded with zeros, which leaves its dW as it is; B is multiplied by the
    quotient of its scale to that of the first adapter, which does so too.

    :raises AtlasError: for adapters that are not LoRA, or not of one base.
    """
    for adapter in adapters:
        if adapter.family is not LoraModule:
            raise AtlasError(
                f"{adapter.name}: LoRA adapters are composed, and this one is {adapter.family.NAME}."
            )
    parts = [_lora(adapter) for adapter in adapters]
    modules = sorted({module for part in parts for module in part})
    rank = max(module.a.shape[0] for part in parts for module in part.values())
    scale = next(iter(parts[0].values())).scale
    a, b = {}, {}
    for name in modules:
        shape = next(part[name] for part in parts if name in part)
        width, height = shape.a.shape[1], shape.b.shape[0]
        a[name] = torch.zeros(len(parts), rank, width)
        b[name] = torch.zeros(len(parts), height, rank)
        for i, part in enumerate(parts):
            module = part.get(name)
            if module is None:
                continue
            if (module.a.shape[1], module.b.shape[0]) != (width, height):
                raise AtlasError(
                    f"{adapters[i].name}: {name} is made for a matrix of shape "
                    f"{(module.b.shape[0], module.a.shape[1])}, and that of the others is "
                    f"{(height, width)}; they are not adapters of one base."
                )
            own = module.a.shape[0]
            a[name][i, :own] = module.a
            b[name][i, :, :own] = module.b
            if module.scale != scale:
                b[name][i] *= module.scale / scale
    names = tuple(adapter.name for adapter in adapters)
    return Aligned(names, a, b, rank, scale, _config(adapters, modules, rank, scale))


def _lora(adapter: Adapter) -> dict[str, LoraModule]:
    return {name: m for name, m in adapter.modules.items() if isinstance(m, LoraModule)}


def _config(
    adapters: Sequence[Adapter], modules: list[str], rank: int, scale: float
) -> dict[str, Any]:
    """The PEFT configuration of a composed adapter."""
    targets = [adapter.config.get("target_modules") for adapter in adapters]
    first = sorted(targets[0] or [])
    same = all(isinstance(names, list) and sorted(names) == first for names in targets)
    alpha = rank * scale
    return adapters[0].config | {
        "r": rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "target_modules": first if same else modules,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": False,
        "inference_mode": True,
    }


def composed(parts: Aligned, weights: Sequence[float]) -> Adapter:
    """LoraHub's composition: A = sum of w_i A_i, B = sum of w_i B_i, in order, float32."""
    if len(weights) != len(parts.names):
        raise AtlasError(f"{len(weights)} weights do not fit {len(parts.names)} adapters.")
    modules = {
        name: LoraModule(_sum(parts.a[name], weights), _sum(parts.b[name], weights), parts.scale)
        for name in parts.a
    }
    return Adapter("the composed adapter", LoraModule, modules, parts.config)


def _sum(tensors: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    return reduce(torch.add, (t * float(w) for t, w in zip(tensors, weights, strict=True)))


def state(adapter: Adapter) -> dict[str, torch.Tensor]:
    """Tensors of a LoRA adapter as PEFT names them."""
    found = {}
    for name, module in _lora(adapter).items():
        found[f"{PREFIX}{name}.lora_A.weight"] = module.a
        found[f"{PREFIX}{name}.lora_B.weight"] = module.b
    return found


def merged_by_peft(
    network: Any, parts: Aligned, method: Merge, *, density: float, seed: int
) -> Adapter:
    """PEFT's ``add_weighted_adapter`` on the same adapters.

    ``average``: combination_type cat with weights 1 / n, the mean of dW; ``ties`` (arXiv
    2306.01708): weights 1; ``dare`` (arXiv 2311.03099): dare_linear with weights 1 / n.

    :param network: the base; it is as it was when this returns.
    :param density: share of the elements that ties and dare keep; `seed` draws what dare drops.
    """
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from peft.utils import set_peft_model_state_dict

    count = len(parts.names)
    settings = {
        "r": parts.rank, "lora_alpha": parts.config["lora_alpha"],
        "target_modules": parts.config["target_modules"],
        "task_type": parts.config.get("task_type"), "inference_mode": True,
    }  # fmt: skip
    names = [f"model_{i}" for i in range(count)]
    state_of_random = (torch.get_rng_state(), random.getstate())
    wrapped = get_peft_model(network, LoraConfig(**settings), adapter_name=names[0])
    try:
        for i, name in enumerate(names):
            if i:
                wrapped.add_adapter(name, LoraConfig(**settings))
            modules = {m: LoraModule(parts.a[m][i], parts.b[m][i], parts.scale) for m in parts.a}
            tensors = state(Adapter(name, LoraModule, modules, {}))
            set_peft_model_state_dict(wrapped, tensors, adapter_name=name)
        torch.manual_seed(seed)
        weight = 1.0 if method == "ties" else 1.0 / count
        more = {} if method == "average" else {"density": density}
        wrapped.add_weighted_adapter(
            names, [weight] * count, "merged", combination_type=COMBINATIONS[method], **more
        )
        tensors = get_peft_model_state_dict(wrapped, adapter_name="merged")
        rank = wrapped.peft_config["merged"].r
        found = {k: v.detach().clone().cpu() for k, v in tensors.items()}
        tables = [getattr(module, "scaling", None) for module in wrapped.modules()]
        scales = {table["merged"] for table in tables if isinstance(table, dict)}
    finally:
        wrapped.unload()
        torch.set_rng_state(state_of_random[0])
        random.setstate(state_of_random[1])
    (scale,) = scales
    config = {**parts.config, "r": rank, "lora_alpha": scale * rank}
    return adapter_from(f"the {method} of the models", config, found, {})
