"""Bases and encoders: pretrained models that others are trained from, or read by."""

from pydantic import Field

from atlas.configuration.sources import Source
from atlas.grammar import DType, Entry, Number


class Base(Entry):
    """A pretrained model that others are trained from."""

    source: Source = Field(description="Where the weights and the tokenizer come from.")
    dtype: DType = Field(
        default="float32",
        description="Precision in which the weights are used (and stored where they are made).",
    )
    shards: int = Field(
        default=1,
        ge=1,
        description="In how many files the weights are kept; in as many as they come in, they are not "
        "written anew.",
    )
    billions: Number | None = Field(
        default=None,
        gt=0,
        description="Parameters in billions, from which jobs on a cluster ask for memory and time "
        "(default: the size of its files once they are there, before that 5 GB per weight file).",
    )
    chat_template: str | None = Field(
        default=None, description="Jinja template of conversations, for a tokenizer that has none."
    )
    aliases: list[str] = Field(
        default=[], description="Other names under which adapters may record this base."
    )
    licence: str = Field(default="unknown", description="Licence, written into model cards.")
    stages: list[str] = Field(
        default=[], description="What it was trained by, first to last, for the table of geometry."
    )


class Encoder(Entry):
    """A sentence encoder (a sentence-transformers folder)."""

    source: Source = Field(description="Where the encoder comes from.")
    licence: str = Field(default="unknown", description="Licence.")
