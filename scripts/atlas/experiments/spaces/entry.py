"""The entry of a table of the family of delta activations."""

from typing import ClassVar, Literal

from pydantic import Field

from atlas.experiments.entry import KIND, PoolTable


class Table(PoolTable):
    """The family of delta activations, by layer and by number of probes."""

    drawn: ClassVar[bool] = True

    kind: Literal["spaces"] = Field(description=KIND)
