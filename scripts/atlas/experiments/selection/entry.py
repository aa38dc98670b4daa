"""The entry of a table of selection."""

from typing import ClassVar, Literal

from pydantic import Field

from atlas.errors import AtlasError
from atlas.experiments.entry import KIND, SETTING, Planned, TableEntry
from atlas.grammar import Name
from atlas.references import known


class Table(TableEntry):
    """How well composed models do."""

    drawn: ClassVar[bool] = True

    kind: Literal["selection"] = Field(description=KIND)
    selections: list[Name] = Field(default=[], description="Selections of the table, in its order.")
    published: dict[Name, str] = Field(default={}, description=f"Selection -> {SETTING}")

    def check(self, where: str, plan: Planned) -> None:
        """Refuse selections that there are not."""
        if not self.selections:
            raise AtlasError(f"{where}.selections: a table of the kind selection names some.")
        for selection in self.selections:
            known(selection, plan.config.selections, f"{where}.selections", "selection")
