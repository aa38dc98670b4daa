"""Causal networks, and sequence-to-sequence ones (an encoder and a decoder): which a base is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas import device as devices
from atlas.errors import AtlasError
from atlas.files import read_json

if TYPE_CHECKING:
    import torch


def is_seq2seq(folder: Path) -> bool:
    """Whether the base in a folder is a sequence-to-sequence model, by its config.json."""
    return bool(read_json(folder / "config.json").get("is_encoder_decoder", False))


def loader(seq2seq: bool) -> Any:
    """The class of transformers that loads a model of this kind."""
    import transformers

    return transformers.AutoModelForSeq2SeqLM if seq2seq else transformers.AutoModelForCausalLM


def load(folder: Path, dtype: str, device: torch.device) -> Any:
    """The network in a folder, still in main memory; remote code is never run.

    :param device: where it will compute, which its attention must allow.
    :raises AtlasError: where it cannot compute attention as the configuration wants it.
    """
    import torch

    wanted = devices.attention(dtype, device)
    network = loader(is_seq2seq(folder)).from_pretrained(
        folder, dtype=getattr(torch, dtype), trust_remote_code=False
    )
    if wanted is not None:
        _set_attention(network, wanted)
    devices.note_attention(network.config._attn_implementation)
    return network


def _set_attention(network: Any, wanted: str) -> None:
    """Transformers warns, takes another or raises where an architecture has no such attention."""
    try:
        network.set_attn_implementation(wanted)
        if network.config._attn_implementation == wanted:
            return
        reason = f"it computes by {network.config._attn_implementation}"
    except (ImportError, ValueError) as error:
        reason = str(error).partition(". ")[0].rstrip(".")
    raise AtlasError(
        f"attention is {wanted}, which {type(network).__name__} cannot use ({reason}); set "
        "attention to auto."
    )


def refuse_seq2seq(folder: Path) -> None:
    """Refuse a sequence-to-sequence model where only causal ones can be read."""
    if is_seq2seq(folder):
        raise AtlasError(
            f"{folder.name}: is a sequence-to-sequence model, and this reads causal ones only; the "
            "embedding spaces that read both are delta_activations, flattened_weights, "
            "salient_mask and output_sentences."
        )
