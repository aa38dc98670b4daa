"""Models, trained or fetched, and grids that generate them."""

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from atlas.configuration.sources import HubSource
from atlas.grammar import Entry, Name, Share, is_whole


class Data(Entry):
    """Rows that a model is trained on."""

    dataset: Name = Field(description="Name of a dataset.")
    split: Name = Field(
        default="first",
        description="A part of the region; `region`, all parts; `rest`, the rows after the region "
        "(every row where the region is everything); `all`, every row.",
    )
    share: Share | None = Field(
        default=None, description="Share of the model's rows in a mixture; shares add up to 1."
    )
    rows: int | None = Field(default=None, ge=1, description="Draw so many rows at random.")


class BaseRef(Entry):
    """A model that serves as base of another."""

    model: Name = Field(description="Name of the model.")


class ModelSource(Entry):
    """Where a model that was trained elsewhere comes from: one of the keys."""

    hub: HubSource | None = Field(default=None, description="A repository on a hub.")
    local: str | None = Field(default=None, description="A folder on this machine.")

    @model_validator(mode="after")
    def _one(self, info: Any) -> "ModelSource":
        if is_whole(info) and (self.hub is None) == (self.local is None):
            raise PydanticCustomError("source", "a fetched model has a source: either hub or local")
        return self


class Model(Entry):
    """One trained or fetched thing, with a name of its own."""

    base: Name | BaseRef = Field(description="Name of a base, or `{model: NAME}`.")
    recipe: Name | None = Field(default=None, description="Name of a recipe (trained models).")
    data: list[Data] = Field(default=[], description="What it is trained on (trained models).")
    variant: Literal["own", "none", "universal"] = Field(
        default="own", description="Frame of the prompt."
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        description="Seed; by default derived from the first global seed and the name.",
    )
    source: ModelSource | None = Field(
        default=None, description="Where a fetched model comes from."
    )
    kind: Literal["adapter", "full"] = Field(
        default="adapter", description="What a fetched model is: an adapter or full weights."
    )
    shards: int = Field(
        default=1,
        ge=1,
        description="In how many files the weights of a fetched full model are kept, whatever their "
        "number where they come from.",
    )
    keep_weights: bool = Field(
        default=True,
        description="false: the weights (of a full model that is trained here) are deleted once "
        "all that was asked for is made of them; their digests stay.",
    )
    domain: Name | None = Field(
        default=None, description="Label; by default that of its datasets, joined by +."
    )
    card: str = Field(default="", description="A sentence for the model card.")
    stages: list[str] = Field(
        default=[],
        description="What a fetched model was trained by after its base, first to last, for the "
        "table of geometry (a model that is trained here: its objective).",
    )

    @model_validator(mode="after")
    def _trained_or_fetched(self, info: Any) -> "Model":
        if is_whole(info):
            if self.source is None and (self.recipe is None or not self.data):
                raise PydanticCustomError(
                    "model", "a model has either recipe and data (trained) or source (fetched)"
                )
            if self.source is not None and (self.recipe is not None or self.data):
                raise PydanticCustomError(
                    "model", "a fetched model has a source, and neither recipe nor data"
                )
            if self.source is None and self.stages:
                raise PydanticCustomError(
                    "model", "the stage of a model that is trained here is its objective; name none"
                )
            if self.source is not None and self.domain is None:
                raise PydanticCustomError("model", "a fetched model needs a domain")
            shares = [d.share for d in self.data]
            given = [s for s in shares if s is not None]
            if given and any(d.rows is not None for d in self.data):
                raise PydanticCustomError("model", "a mixture has either shares or rows")
            if given and (len(given) < len(shares) or abs(sum(given) - 1) > 1e-9):
                raise PydanticCustomError(
                    "model", "the shares of a mixture are given for each dataset and add up to 1"
                )
        return self


class Grid(Entry):
    """A pattern with lists that generates models."""

    name: str = Field(description="Pattern of the names, for instance `smol-{dataset}-{split}`.")
    lists: dict[Name, list[Any]] = Field(
        min_length=1,
        description="Placeholder -> values; values may be mappings, used as `{placeholder.key}`.",
    )
    model: dict[str, Any] = Field(
        description="A model, with placeholders in its texts; a text that is one placeholder "
        "takes the value as it is."
    )
