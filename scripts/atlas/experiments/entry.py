"""What entries of tables are made of, whatever their kind.

A kind is a folder of this room: ``entry.py`` has the class ``Table``, the keys of its tables in a
configuration and what they need; ``table.py`` the function of its rule; ``findings.py`` the
sentences that the summary says of it. The folders are found: nothing lists them.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import Field

from atlas.errors import AtlasError
from atlas.grammar import Entry, Name
from atlas.references import known

DEFAULT = "main"  # the kind of a table that names none
KIND = "Kind of the table."
SETTING = (
    "the published figure that stands beside it: a setting of resources/published_experiments.csv."
)


def kinds() -> "dict[str, type[TableEntry]]":
    """Kind -> the class of its entries, the default kind first, then by name."""
    found = {file.parent.name for file in Path(__file__).parent.glob("*/entry.py")}
    return {
        kind: import_module(f"atlas.experiments.{kind}.entry").Table
        for kind in sorted(found, key=lambda kind: (kind != DEFAULT, kind))
    }


class Planned(Protocol):
    """What a check may look at: the configuration, its pools and models with resolved references."""

    @property
    def config(self) -> Any: ...  # noqa: D102
    @property
    def pools(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def models(self) -> Mapping[str, Any]: ...  # noqa: D102


class TableEntry(Entry):
    """One of results/tables."""

    drawn: ClassVar[bool] = False  # whether it has a figure, results/figures/TABLE.svg

    kind: str = Field(description=KIND)

    @property
    def pools_read(self) -> list[str]:
        """Pools of the table, in its order."""
        return []

    @property
    def comparisons_read(self) -> list[str]:
        """Comparisons of the table, in its order."""
        return []

    @property
    def pools_repeated(self) -> list[str]:
        """Pools whose models are trained anew with each further seed."""
        return self.pools_read

    def checkpoints(self, deltas: Mapping[str, Any]) -> list[dict[str, str]]:
        """What is evaluated for the table: delta, model, role and checkpoint of each.

        :param deltas: those of the configuration.
        """
        return []

    def beside(self, name: str) -> dict[str, str]:
        """Further files that its findings read: what they call each, and where it is.

        :param name: of the table.
        """
        return {}

    def check(self, where: str, plan: Planned) -> None:
        """Refuse a table that cannot be made.

        :param where: its place in the configuration, for messages.
        :raises AtlasError: saying what it lacks.
        """


class PoolTable(TableEntry):
    """A table of pools."""

    pools: list[Name] = Field(default=[], description="Pools of the table, in its order.")

    @property
    def pools_read(self) -> list[str]:
        """Its pools."""
        return self.pools

    def check(self, where: str, plan: Planned) -> None:
        """Refuse pools that there are not, and a table without any."""
        for pool in self.pools:
            known(pool, plan.pools, f"{where}.pools", "pool")
        if not self.pools:
            raise AtlasError(f"{where}.pools: a table of the kind {self.kind} names its pools.")


class ComparisonTable(TableEntry):
    """A table of comparisons that have models of both sides."""

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
                f"{where}.comparisons: a table of the kind {self.kind} names its comparisons."
            )
        for name in self.comparisons:
            known(name, plan.config.comparisons, f"{where}.comparisons", "comparison")
            entry = plan.config.comparisons[name]
            if not entry.rl or set(entry.rl) == set(entry.models):
                raise AtlasError(
                    f"{where}.comparisons: {name!r} has models of one side only; name those that were "
                    f"trained with rewards in comparisons.{name}.rl, and others beside them."
                )


def check_space(where: str, pools: Iterable[str], space: str, plan: Planned) -> None:
    """Refuse pools that lack a space."""
    for pool in pools:
        if space not in plan.pools[pool].settings.spaces:
            raise AtlasError(f"{where}: the pool {pool!r} lacks the space {space}; add it.")


class CheckpointTable(TableEntry):
    """A table of bases, models, instruct and merged models, which are evaluated side by side."""

    models: list[Name] = Field(default=[], description="Models to which the deltas are added.")
    deltas: list[Name] = Field(default=[], description="Deltas that are added.")
    texts: list[Name] = Field(
        default=[], description="Datasets of text on whose held-out rows perplexity is measured."
    )
    chats: list[Name] = Field(
        default=[],
        description="Datasets of conversations on whose held-out rows the loss of the answer is "
        "measured.",
    )
    questions: str = Field(
        default="resources/questions.txt",
        description="File of questions that are put to every checkpoint, one per line.",
    )
    new_tokens: int = Field(default=40, ge=1, description="Longest answer, in tokens.")

    def checkpoints(self, deltas: Mapping[str, Any]) -> list[dict[str, str]]:
        """Base, instruct model, model and merged model of each pair of a delta and a model."""
        found = []
        for delta, model in product(self.deltas, self.models):
            names = {"base": deltas[delta].base, "instruct": deltas[delta].instruct,
                     "model": model, "merged": f"{model}+{delta}"}  # fmt: skip
            found += [{"delta": delta, "model": model, "role": role, "checkpoint": name}
                      for role, name in names.items()]  # fmt: skip
        return found

    def check(self, where: str, plan: Planned) -> None:
        """Refuse models and deltas that do not fit, and datasets without rows to measure on."""
        super().check(where, plan)
        config = plan.config
        for model in self.models:
            if model in config.bases:
                raise AtlasError(
                    f"{where}.models: {model!r} is the name of a base too; rename one of them."
                )
        if not self.models or not self.deltas:
            raise AtlasError(
                f"{where}: a table of the kind {self.kind} names its models and deltas."
            )
        for model, delta in product(self.models, self.deltas):
            known(model, plan.models, f"{where}.models", "model")
            known(delta, config.deltas, f"{where}.deltas", "delta")
            if plan.models[model].base != config.deltas[delta].base:
                raise AtlasError(
                    f"{where}: the delta {delta!r} is of the base {config.deltas[delta].base!r}, and "
                    f"{model!r} was trained from {plan.models[model].base!r}."
                )
        for key, kind, names in (("texts", "text", self.texts), ("chats", "messages", self.chats)):
            for name in names:
                known(name, config.datasets, f"{where}.{key}", "dataset")
                dataset = config.datasets[name]
                if dataset.template.kind() != kind:
                    raise AtlasError(
                        f"{where}.{key}: {name} has rows of the kind {dataset.template.kind()}, not "
                        f"{kind}."
                    )
                if not dataset.splits.hold_rows_out():
                    raise AtlasError(
                        f"{where}.{key}: {name} holds no rows out; set datasets.{name}.splits.region "
                        "below 1."
                    )
