"""The entry of a table of geometry."""

from typing import ClassVar, Literal

from pydantic import Field

from atlas.errors import AtlasError
from atlas.experiments.entry import KIND, SETTING, ComparisonTable, Planned
from atlas.grammar import Name

# What the published figures were measured with.
PUBLISHED = {"subspace": 50, "shots": 8}


class Table(ComparisonTable):
    """Models trained with rewards against models fine-tuned on solutions."""

    drawn: ClassVar[bool] = True

    kind: Literal["geometry"] = Field(description=KIND)
    published: dict[Name, str] = Field(default={}, description=f"Comparison -> {SETTING}")

    def check(self, where: str, plan: Planned) -> None:
        """Refuse comparisons that there are not, that have models of one side only, or that do not
        measure what was published and stands beside them.
        """
        super().check(where, plan)
        for name in self.comparisons:
            entry = plan.config.comparisons[name]
            for key, value in PUBLISHED.items() if name in self.published else ():
                if getattr(entry, key) != value:
                    raise AtlasError(
                        f"{where}.published: figures were published with {value} as {key}, and "
                        f"comparisons.{name}.{key} is {getattr(entry, key)}; set it, or leave "
                        f"{name!r} out of published."
                    )
