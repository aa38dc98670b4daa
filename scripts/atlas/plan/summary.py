"""What the rule of the summary reads, and is told."""

from typing import Any

from atlas.plan.resolved import Plan


def entries(plan: Plan) -> list[dict[str, Any]]:
    """Name and kind of each table, and what its findings call the files that they read beside it."""
    tables = {name: plan.config.tables[name] for name in plan.summary}
    return [{"name": n, "kind": t.kind, "beside": list(t.beside(n))} for n, t in tables.items()]


def beside(plan: Plan) -> list[str]:
    """The files that findings read beside their tables."""
    return [f for name in plan.summary for f in plan.config.tables[name].beside(name).values()]


def pools(plan: Plan) -> list[dict[str, Any]]:
    """Pools of the tables that the summary tells of."""
    found = {pool.name: pool for table in plan.summary for pool in plan.table_pools(table)}
    return [
        {"name": pool.name, "models": len(pool.models),
         "domains": sorted({model.domain for model in pool.models}), "bases": pool.bases,
         "recipes": sorted({model.recipe for model in pool.models if model.recipe})}
        for pool in found.values()
    ]  # fmt: skip
