"""Instruction deltas."""

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from atlas.grammar import Entry, Name, Share


class Delta(Entry):
    """An instruction delta: instruct model minus base."""

    base: Name = Field(description="Name of a base.")
    instruct: Name = Field(description="Name of the base that holds the instruct model.")
    dtype: Literal["model", "float16", "float32"] = Field(
        default="float16",
        description="Precision in which the delta is stored; embeddings and norms are stored in "
        "float32.",
    )
    keep: Share | None = Field(
        default=None, description="Store only this share of each tensor's elements, the largest."
    )
    rank: int | None = Field(
        default=None, ge=1, description="Store each matrix as two factors of this rank."
    )
    force: bool = Field(
        default=False,
        description="Apply it to a model of which nothing records what it was trained from, and "
        "whose weights do not show it; its card then has a warning.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "Delta":
        if self.keep is not None and self.rank is not None:
            raise PydanticCustomError("delta", "a delta is stored sparse (keep) or low-rank (rank)")
        return self
