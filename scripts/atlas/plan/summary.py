"""What the rule of the summary reads, and is told."""

from __future__ import annotations

from typing import Any

from atlas.plan.plan import Plan


def pool_tables(plan: Plan) -> list[str]:
    """Tables of the pools of main tables."""
    return [
        f"results/pools/{pool}/{name}"
        for table in plan.summary
        if plan.config.tables[table].kind == "main"
        for pool in plan.config.tables[table].pools
        for name in ("silhouette.csv", "neighbours.csv")
    ]


def distances(plan: Plan) -> list[str]:
    """Distances beside temporal tables."""
    kinds = {table: plan.config.tables[table].kind for table in plan.summary}
    return [f"results/tables/{t}_distances.csv" for t, kind in kinds.items() if kind == "temporal"]


def pools(plan: Plan) -> list[dict[str, Any]]:
    """Pools of the tables that the summary tells of."""
    found = {pool.name: pool for table in plan.summary for pool in plan.table_pools(table)}
    return [
        {
            "name": pool.name,
            "models": len(pool.models),
            "domains": sorted({model.domain for model in pool.models}),
            "bases": pool.bases,
            "recipes": sorted({model.recipe for model in pool.models if model.recipe}),
        }
        for pool in found.values()
    ]
