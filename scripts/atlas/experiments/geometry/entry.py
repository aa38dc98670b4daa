"""The entry of a table of geometry."""

from typing import Literal

from pydantic import Field

from atlas.errors import AtlasError
from atlas.experiments.entry import KIND, SETTING, Planned, TableEntry
from atlas.grammar import Name
from atlas.references import known

# What the published figures were measured with.
PUBLISHED = {"subspace": 50, "shots": 8}


class Table(TableEntry):
    """Models trained with rewards against models fine-tuned on solutions."""

    kind: Literal["geometry"] = Field(description=KIND)
    comparisons: list[Name] = Field(
        default=[], description="Comparisons of the table, in its order."
    )
    published: dict[Name, str] = Field(default={}, description=f"Comparison -> {SETTING}")

    @property
    def comparisons_read(self) -> list[str]:
        """Its comparisons."""
        return self.comparisons

    def check(self, where: str, plan: Planned) -> None:
        """Refuse comparisons that there are not, that have models of one side only, or that do not
        measure what was published and stands beside them.
        """
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
            for key, value in PUBLISHED.items() if name in self.published else ():
                if getattr(entry, key) != value:
                    raise AtlasError(
                        f"{where}.published: figures were published with {value} as {key}, and "
                        f"comparisons.{name}.{key} is {getattr(entry, key)}; set it, or leave "
                        f"{name!r} out of published."
                    )
