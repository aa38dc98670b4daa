"""The entry of a table of additivity."""

from typing import ClassVar, Literal

from pydantic import Field

from atlas.errors import AtlasError
from atlas.experiments.entry import KIND, Planned, PoolTable, check_space


class Table(PoolTable):
    """Mixtures against their parts."""

    drawn: ClassVar[bool] = True

    kind: Literal["additive"] = Field(description=KIND)

    def check(self, where: str, plan: Planned) -> None:
        """Refuse a pool without delta activations, or without a mixture beside its parts."""
        super().check(where, plan)
        check_space(where, self.pools, "delta_activations", plan)
        for pool in self.pools:
            if not plan.pools[pool].mixtures:
                raise AtlasError(
                    f"{where}: the pool {pool!r} has no mixture of two datasets with a model of "
                    "each of them beside it, trained from the same base on the same split."
                )
