"""The entry of a table of retrieval."""

from itertools import product
from typing import Any, ClassVar, Literal

from pydantic import Field

from atlas.errors import AtlasError
from atlas.experiments.entry import KIND, SETTING, Planned, PoolTable, check_space
from atlas.grammar import Name
from atlas.references import known


class Table(PoolTable):
    """Models of `queries` against the pools."""

    drawn: ClassVar[bool] = True

    kind: Literal["retrieval"] = Field(description=KIND)
    queries: dict[Name, Name] = Field(
        default={}, description="Pool -> the pool whose models are looked up in it."
    )
    published: dict[Name, str] = Field(default={}, description=f"Pool -> {SETTING}")

    @property
    def pools_repeated(self) -> list[str]:
        """Its pools and those of their queries."""
        return [*self.pools, *(self.queries[pool] for pool in self.pools)]

    def check(self, where: str, plan: Planned) -> None:
        """Refuse a pool without queries, and queries that the pool may have been trained on."""
        super().check(where, plan)
        for pool in self.pools:
            if pool not in self.queries:
                raise AtlasError(f"{where}.queries: names no pool of queries for {pool!r}.")
            known(self.queries[pool], plan.pools, f"{where}.queries.{pool}", "pool")
            _refuse_seen_rows(where, plan.pools[self.queries[pool]], plan.pools[pool], plan.config)
        check_space(where, self.pools_repeated, "delta_activations", plan)


def _refuse_seen_rows(where: str, queries: Any, pool: Any, config: Any) -> None:
    """Refuse queries that are trained on rows which models of the pool may be trained on too."""
    for query, model in product(queries.models, pool.models):
        for mine, other in product(query.data, model.data):
            if mine.dataset != other.dataset:
                continue
            whole = all(share == 1 for share in config.datasets[mine.dataset].splits.region)
            if _disjoint(mine.split, other.split, whole):
                continue
            raise AtlasError(
                f"{where}.queries: {query.name} reads {mine.dataset}/{mine.split}, and {model.name} "
                f"of the pool {pool.name!r} reads {other.dataset}/{other.split}, which may be the same "
                "rows; queries are trained on rows that no model of the pool has seen."
            )


def _disjoint(one: str, other: str, whole: bool) -> bool:
    """Whether two splits of a dataset share no row.

    :param whole: the region is everything, so that `rest` is everything too.
    """
    names = {one, other}
    if len(names) == 1 or "all" in names or (whole and "rest" in names):
        return False
    return "rest" in names or "region" not in names
