"""The entry of a table of periods."""

from typing import ClassVar, Literal

from pydantic import Field

from atlas.experiments.entry import KIND, CheckpointTable, PoolTable


class Table(CheckpointTable, PoolTable):
    """As instruct, with the distances of the models of `pools` before and after the delta."""

    drawn: ClassVar[bool] = True

    kind: Literal["temporal"] = Field(description=KIND)

    def beside(self, name: str) -> dict[str, str]:
        """The distances."""
        return {"distances": f"results/tables/{name}_distances.csv"}
