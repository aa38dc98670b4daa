"""The entry of a table of silhouettes."""

from typing import ClassVar, Literal

from pydantic import Field

from atlas.errors import AtlasError
from atlas.experiments.entry import KIND, SETTING, Planned, PoolTable
from atlas.grammar import Name
from atlas.spaces.names import Space


class Table(PoolTable):
    """Silhouettes of several pools, with p-values and intervals."""

    drawn: ClassVar[bool] = True

    kind: Literal["silhouettes"] = Field(description=KIND)
    spaces: list[Space] = Field(
        default=[], description="Spaces of the table (default: all of its pools)."
    )
    published: dict[Name, str] = Field(default={}, description=f"Pool -> {SETTING}")

    def check(self, where: str, plan: Planned) -> None:
        """Refuse a space that none of its pools has."""
        super().check(where, plan)
        for space in self.spaces:
            if not any(space in plan.pools[pool].settings.spaces for pool in self.pools):
                raise AtlasError(f"{where}.spaces: none of its pools has the space {space}.")
