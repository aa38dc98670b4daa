"""The entry of a table of weight space."""

from typing import ClassVar, Literal

from pydantic import Field

from atlas.experiments.entry import KIND, ComparisonTable


class Table(ComparisonTable):
    """What rewards and solutions change in the weights of a base, and what is forgotten."""

    drawn: ClassVar[bool] = True

    kind: Literal["weight_space"] = Field(description=KIND)
