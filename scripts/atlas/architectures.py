"""Causal networks, and sequence-to-sequence ones (an encoder and a decoder): which a base is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import read_json


def is_seq2seq(folder: Path) -> bool:
    """Whether the base in a folder is a sequence-to-sequence model, by its config.json."""
    return bool(read_json(folder / "config.json").get("is_encoder_decoder", False))


def loader(seq2seq: bool) -> Any:
    """The class of transformers that loads a model of this kind."""
    import transformers

    return transformers.AutoModelForSeq2SeqLM if seq2seq else transformers.AutoModelForCausalLM


def refuse_seq2seq(folder: Path) -> None:
    """Stop where only causal models can be read.

    :raises AtlasError: for a sequence-to-sequence model.
    """
    if is_seq2seq(folder):
        raise AtlasError(
            f"{folder.name}: is a sequence-to-sequence model, and this reads causal ones only; the "
            "embedding spaces that read both are delta_activations, flattened_weights, "
            "salient_mask and output_sentences."
        )
