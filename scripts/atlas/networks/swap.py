"""One base in memory, many models: applied in place, taken off again without a trace.

Adapters act through hooks on the base's own modules and never touch its weights; full models
take the place of the weights by reference. Taking either off restores the very same objects, so
no state of one model can reach the next.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from atlas import device as devices
from atlas.errors import AtlasError
from atlas.networks.architectures import load, refuse_seq2seq
from atlas.progress import say
from atlas.weights.adapters import Adapter, check_fits
from atlas.weights.tensors import Weights, check_finite


def load_base(
    folder: Path, dtype: str, device: torch.device | None = None, *, seq2seq: bool = False
) -> Any:
    """A base in evaluation mode; remote code is never run.

    :param device: where it will compute (default: the device of the job).
    :param seq2seq: whether it may be a sequence-to-sequence model.
    :raises AtlasError: where it is one and may not be.
    """
    if not seq2seq:
        refuse_seq2seq(folder)
    if device is None:
        device = devices.prepare()
        say(f"loads {folder.name} on {device}")
    return load(folder, dtype, device).to(device).eval().requires_grad_(False)


@contextlib.contextmanager
def adapter_applied(network: Any, adapter: Adapter) -> Iterator[None]:
    """Within this context, the network computes what PEFT computes with the adapter.

    :raises AtlasError: where the adapter does not fit the network.
    """
    modules = dict(network.named_modules())
    check_fits(adapter, {n: tuple(p.shape) for n, p in network.named_parameters()})
    with contextlib.ExitStack() as stack:
        for name, part in adapter.modules.items():
            module = modules[name]
            near = part.with_tensors(partial(_beside, weight=module.weight))
            stack.callback(near.attach(module).remove)
        yield


def _beside(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Values on the device and in the dtype of a weight; from pinned memory, nobody waits for it."""
    return values.to(weight.device, non_blocking=values.is_pinned()).to(weight.dtype)


@contextlib.contextmanager
def weights_applied(network: Any, weights: Weights, name: str) -> Iterator[None]:
    """Within this context, the network has the weights of a full model.

    :raises AtlasError: where a tensor is missing, is one too many, or has another shape.
    """
    check_finite(weights, name)
    parameters = dict(network.named_parameters())
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    missing = set(parameters) - set(weights) - tied
    extra = set(weights) - set(parameters) - tied
    if missing or extra:
        raise AtlasError(f"{name}: {sorted(missing | extra)[0]} is in only one of model and base.")
    saved = {key: parameter.data for key, parameter in parameters.items()}
    try:
        for key in (key for key in weights if key in parameters):
            parameter, value = parameters[key], weights[key]
            if value.shape != parameter.shape:
                raise AtlasError(
                    f"{name}: {key} has the shape {tuple(value.shape)}, and that of the base is "
                    f"{tuple(parameter.shape)}."
                )
            parameter.data = value.to(parameter.device, parameter.dtype)
        yield
    finally:
        for key, data in saved.items():
            parameters[key].data = data
