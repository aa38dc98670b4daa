"""One base in memory, many models: applied in place, taken off again without a trace.

Plain adapters act through hooks on the base's own modules and never touch its weights; taking them
off restores the very same objects, so no state of one model can reach the next.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from atlas import device as devices
from atlas.networks.architectures import load, own_path, refuse_seq2seq, text_path
from atlas.progress import say
from atlas.weights.adapters import Adapter, check_fits
from atlas.weights.side_by_side import SideBySide


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
def adapter_applied(network: Any, adapter: Adapter) -> Iterator[Any]:
    """Within this context, the network, which is given, computes what PEFT computes with the adapter.

    :raises AtlasError: where the adapter does not fit the network.
    """
    adapter = fitting(network, adapter)
    modules = dict(network.named_modules())
    with contextlib.ExitStack() as stack:
        for name, part in adapter.modules.items():
            module = modules[name]
            near = part.with_tensors(partial(_beside, weight=module.weight))
            stack.callback(near.attach(module).remove)
        yield network


@contextlib.contextmanager
def side_by_side_applied(network: Any, group: SideBySide) -> Iterator[Any]:
    """Within this context, the network computes as each adapter in its rows of a batch.

    :raises AtlasError: where an adapter does not fit the network.
    """
    adapters = [fitting(network, adapter) for adapter in group.adapters]
    modules = dict(network.named_modules())
    with contextlib.ExitStack() as stack:
        for name in sorted({name for adapter in adapters for name in adapter.modules}):
            module = modules[name]
            found = [adapter.modules.get(name) for adapter in adapters]
            near = [p and p.with_tensors(partial(_beside, weight=module.weight)) for p in found]
            for family in sorted({type(p) for p in near if p}, key=lambda family: family.NAME):
                parts = [p if isinstance(p, family) else None for p in near]
                for handle in family.attach_all(module, parts, group.turn):
                    stack.callback(handle.remove)
        yield network


def fitting(network: Any, adapter: Adapter) -> Adapter:
    """A plain adapter by the names that a network has for its modules.

    :raises AtlasError: naming the first module that does not fit.
    """
    adapter = adapter.moved(own_path(network, adapter.modules), text_path(network))
    weights = ((n, getattr(m, "weight", None)) for n, m in network.named_modules())
    shapes = {f"{n}.weight": tuple(w.shape) for n, w in weights if isinstance(w, torch.Tensor)}
    check_fits(adapter, shapes)
    return adapter


def _beside(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Values on the device and in the dtype of a weight; from pinned memory, nobody waits for it."""
    return values.to(weight.device, non_blocking=values.is_pinned()).to(weight.dtype)
