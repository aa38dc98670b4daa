"""The entry of a main table."""

from typing import ClassVar, Literal

from pydantic import Field

from atlas.experiments.entry import DEFAULT, Planned, PoolTable
from atlas.grammar import Name
from atlas.references import known

FAMILIES = ("llama", "gemma", "qwen")  # of resources/published.csv


class Table(PoolTable):
    """Silhouettes of all spaces with their mean over pools."""

    drawn: ClassVar[bool] = True

    kind: Literal["main"] = Field(
        default=DEFAULT, description="Kind of the table; one that names no kind is of this."
    )
    published: dict[Name, str] = Field(
        default={},
        description="Pool -> the published figure that stands beside it: a family (llama, gemma, "
        "qwen).",
    )

    @property
    def pools_repeated(self) -> list[str]:
        """None: experiments are repeated, and the main table is not."""
        return []

    def beside(self, name: str) -> dict[str, str]:
        """Silhouettes and neighbours of its pools."""
        files = [f"{p}/{file}" for p in self.pools for file in ("silhouette.csv", "neighbours.csv")]
        return {file: f"results/pools/{file}" for file in files}

    def check(self, where: str, plan: Planned) -> None:
        """Refuse a family of which nothing was published."""
        super().check(where, plan)
        for pool, family in self.published.items():
            known(family, FAMILIES, f"{where}.published.{pool}", "family")
