"""What makes a training faster and its result another one by rounding only: when it may be used."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from atlas.errors import AtlasError

FASTER = ("padding_free", "liger")


def refuse_on_seq2seq(recipe: dict[str, Any]) -> None:
    """Refuse a recipe with what is for causal bases only."""
    for key in FASTER:
        if recipe[key]:
            raise AtlasError(
                f"{key} is for causal bases, and this one is a sequence-to-sequence model; set "
                f"{key} to false."
            )


def check_liger(network: Any, device: torch.device) -> None:
    """Refuse kernels that are not there, which transformers would leave out in silence.

    :raises AtlasError: without liger-kernel or a GPU, or for an architecture that it does not have.
    """
    if device.type != "cuda" or find_spec("liger_kernel") is None:
        raise AtlasError(
            "liger needs liger-kernel and a GPU; install it (pip install liger-kernel) where there "
            "is one, or set liger to false."
        )
    # Not an import statement: the closure of the code names what is installed for everyone.
    kernels = import_module("liger_kernel.transformers.monkey_patch")
    architecture = network.config.model_type
    if architecture not in kernels.MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise AtlasError(
            f"liger-kernel has no kernels for the architecture {architecture}; set liger to false."
        )


def refuse_neighbours_seen(trainer: Any) -> None:
    """Refuse an architecture in which a row of a flattened batch sees the row before it.

    Not every architecture of transformers makes its mask from the positions of the tokens. Two
    batches are scored that differ in their first row only: the scores of the second row must be
    the same bits.

    :param trainer: one of TRL's whose batches are flattened, before its first step.
    :raises AtlasError: where they are not.
    """
    network, second = trainer.model, [3, 1, 2, 3, 0, 1, 2]
    training = network.training
    scores = []
    with torch.no_grad():
        network.eval()
        for first in ([0, 1, 0, 1, 0], [2, 3, 3, 2, 2]):
            rows = [{"input_ids": row, "labels": row} for row in (first, second)]
            batch = {
                key: value.to(network.device) if torch.is_tensor(value) else value
                for key, value in trainer.data_collator(rows).items() if key != "labels"
            }  # fmt: skip
            scores.append(network(**batch, use_cache=False).logits[0, len(first) :])
        network.train(training)
    if not torch.equal(*scores):
        raise AtlasError(
            f"padding_free: in {network.config.model_type} a row of a flattened batch sees the row "
            "before it; set padding_free to false."
        )
