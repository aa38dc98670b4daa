"""The entry of a table of the family of delta activations."""

from typing import Literal

from pydantic import Field

from atlas.experiments.entry import KIND, PoolTable


class Table(PoolTable):
    """The family of delta activations, by layer and by number of probes."""

    kind: Literal["spaces"] = Field(description=KIND)
