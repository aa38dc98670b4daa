"""Full models of a base: networks of their own, as transformers loads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.files import read_json
from atlas.networks.architectures import configuration, load
from atlas.weights.tensors import check_finite


@dataclass(frozen=True)
class FullModel:
    """A full model by its folder, which holds its configuration and its weights."""

    name: str
    folder: Path


@contextlib.contextmanager
def full_applied(network: Any, model: FullModel) -> Iterator[Any]:
    """Within this context, a full model stands where its base stood, with its own configuration.

    :param network: the base, whose precision and device it gets.
    :raises AtlasError: where a tensor is missing, is one too many, has another shape, or is not
        finite; where it cannot be a model of the base.
    """
    check_architecture(network.config, model)
    own = load(model.folder, str(network.dtype).removeprefix("torch."), network.device)
    check_finite(dict(own.requires_grad_(False).named_parameters()), model.name)
    yield own.to(network.device).eval()


def check_architecture(base: Any, model: FullModel) -> None:
    """Refuse a model whose activations cannot be compared with those of the base.

    :param base: configuration of the network of the base.
    :raises AtlasError: naming what differs.
    """
    settings = read_json(model.folder / "config.json")
    if settings.get("quantization_config"):
        raise AtlasError(
            f"{model.name}: its weights are quantised (quantization_config in its config.json); "
            "save it dequantised (model.dequantize(), then save_pretrained)."
        )
    own = configuration(model.folder)
    for key in ("model_type", "hidden_size"):
        ours, theirs = (getattr(c.get_text_config(), key, None) for c in (base, own))
        if ours != theirs:
            raise AtlasError(
                f"{model.name}: has {key} {theirs}, and that of the base is {ours}; it is a model of "
                "another base."
            )


def check_full(network: Any, model: FullModel) -> None:
    """Refuse what :func:`full_applied` would refuse of names and shapes, without reading weights.

    :param network: a blank base (:func:`atlas.networks.architectures.blank`).
    :raises AtlasError: as there.
    """
    check_architecture(network.config, model)
    load(model.folder, "auto", torch.device("meta"))
