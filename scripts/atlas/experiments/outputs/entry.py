"""The entry of a table of outputs."""

from typing import Literal

from pydantic import Field

from atlas.experiments.entry import KIND, Planned, PoolTable, check_space


class Table(PoolTable):
    """What models write."""

    kind: Literal["outputs"] = Field(description=KIND)

    def check(self, where: str, plan: Planned) -> None:
        """Refuse a pool whose models write nothing."""
        super().check(where, plan)
        check_space(where, self.pools, "output_sentences", plan)
