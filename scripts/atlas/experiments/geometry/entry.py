"""The entry of a table of geometry."""

from typing import Literal

from pydantic import Field

from atlas.errors import AtlasError
from atlas.experiments.entry import KIND, Planned, TableEntry
from atlas.grammar import Name
from atlas.references import known


class Table(TableEntry):
    """Models trained with rewards against models fine-tuned on solutions."""

    kind: Literal["geometry"] = Field(description=KIND)
    comparisons: list[Name] = Field(
        default=[], description="Comparisons of the table, in its order."
    )

    @property
    def comparisons_read(self) -> list[str]:
        """Its comparisons."""
        return self.comparisons

    def check(self, where: str, plan: Planned) -> None:
        """Refuse comparisons that there are not, or that have models of one side only."""
        if not self.comparisons:
            raise AtlasError(
                f"{where}.comparisons: a table of the kind geometry names comparisons."
            )
        for name in self.comparisons:
            known(name, plan.config.comparisons, f"{where}.comparisons", "comparison")
            entry = plan.config.comparisons[name]
            if not entry.rl or set(entry.rl) == set(entry.models):
                raise AtlasError(
                    f"{where}.comparisons: {name!r} has models of one side only; name those that were "
                    f"trained with rewards in comparisons.{name}.rl, and others beside them."
                )
