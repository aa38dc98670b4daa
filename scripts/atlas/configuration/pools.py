"""Pools: models that are compared with one another."""

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from atlas.grammar import Entry, Name, Share, is_whole
from atlas.spaces.names import Space

# The four spaces that the paper compares, and two of ours that run no model.
MAIN_SPACES: tuple[Space, ...] = ("delta_activations", "direct_effects", "weight_deltas",
                                  "flattened_weights", "salient_mask", "output_sentences")  # fmt: skip


class Continuations(Entry):
    """Continuations of the probes, sampled once for a pool."""

    base: Name | None = Field(
        default=None, description="Base that writes them (default: the pool's first by name)."
    )
    per_probe: int = Field(default=20, ge=1, description="Continuations of each probe.")
    new_tokens: int = Field(default=20, ge=1, description="Tokens of each continuation.")


class Pool(Entry):
    """Models that are compared with one another."""

    models: list[str] = Field(
        default=[],
        description="Names or globs of model names. A glob takes models of your own files, and those "
        "of the default only where none of yours matches; a name may be that of any model.",
    )
    sheet: str | None = Field(
        default=None,
        description="A TSV of models made elsewhere: model, source, base, domain; and, where they are "
        "needed, kind (adapter, or full) and subfolder (of a repository).",
    )
    excluded: list[Name] = Field(
        default=[], description="Models that are left out, for instance adapters that are damaged."
    )
    keep_weights: bool = Field(
        default=True,
        description="false: adapters made elsewhere are fetched, hashed, embedded (by "
        "delta_activations) and deleted shard by shard; report.csv of the pool has a row for each, "
        "with the reason where one cannot be used.",
    )
    spaces: list[Space] = Field(
        default=list(MAIN_SPACES), min_length=1, description="Embedding spaces."
    )
    shards: int = Field(
        default=1, ge=1, description="Number of shards in which activations are computed."
    )
    neighbours: Literal["exact", "faiss"] = Field(
        default="exact",
        description="How neighbours.csv is made: exact compares all pairs, block by block; faiss "
        "looks into the cells of an index that are nearest, for pools of a hundred thousand models "
        "and more; the share of the exact neighbours that it finds is the column recall.",
    )
    encoder: Name = Field(default="all-MiniLM-L6-v2", description="Encoder of output sentences.")
    new_tokens: int = Field(default=40, ge=1, description="Tokens generated per probe.")
    salient_share: Share = Field(
        default=0.01, description="Share of all base weights that is salient."
    )
    continuations: Continuations = Field(
        default=Continuations(), description="What delta_meaning reads the probability of."
    )

    @model_validator(mode="after")
    def _some(self, info: Any) -> "Pool":
        if is_whole(info) and not self.models and self.sheet is None:
            raise PydanticCustomError("pool", "a pool names its models, a sheet, or both")
        return self
