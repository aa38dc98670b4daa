"""What the rule of the summary reads, and is told."""

from typing import Any

import yaml

from atlas.experiments.entry import DEFAULT
from atlas.plan.resolved import Plan
from atlas.spaces.names import space_title

SHOWN = "delta_activations"  # the space whose map and similarities the summary shows, where a pool has it


def entries(plan: Plan) -> list[dict[str, Any]]:
    """Of each table its name and kind, what its findings call files beside it, figures and navigators."""
    return [
        {"name": name, "kind": table.kind, "beside": list(table.beside(name)),
         "figures": _figures(plan, name), "navigators": _navigators(plan, name)}
        for name, table in ((name, plan.config.tables[name]) for name in plan.summary)
    ]  # fmt: skip


def _figures(plan: Plan, table: str) -> list[list[str]]:
    """What each figure of a table shows, and its file; of a main table also those of its pools."""
    entry, found = plan.config.tables[table], []
    if entry.drawn:
        found.append([table.replace("_", " ").capitalize(), f"figures/{table}.svg"])
    if entry.kind == DEFAULT:
        for pool in plan.table_pools(table):
            spaces = pool.settings.spaces
            space = SHOWN if SHOWN in spaces else spaces[0]
            by = f"of {pool.name} by {space_title(space).lower()}"
            for kind, title in (("map", "Map"), ("similarity", "Similarities")):
                found.append([f"{title} {by}", f"pools/{pool.name}/figures/{kind}_{space}.svg"])
    return found


def _navigators(plan: Plan, table: str) -> list[list[str]]:
    """Pools of a main table, and their navigators: with others, none is made."""
    if plan.config.tables[table].kind != DEFAULT:
        return []
    return [[pool.name, f"pools/{pool.name}/navigator.html"] for pool in plan.table_pools(table)]


def figures(plan: Plan) -> list[str]:
    """Figures that the summary shows, each once."""
    found = [f"results/{file}" for name in plan.summary for _, file in _figures(plan, name)]
    return list(dict.fromkeys(found))


def configuration(plan: Plan) -> str:
    """What the configuration says of the tables and their pools, as YAML."""
    config = plan.config
    pools = {pool.name: config.pools.get(pool.name) for name in plan.summary
             for pool in plan.table_pools(name)}  # fmt: skip
    said = {
        "seeds": config.seeds,
        "tables": {name: _said(config.tables[name]) for name in plan.summary},
        "pools": {name: _said(entry) for name, entry in pools.items() if entry},
    }
    return str(yaml.safe_dump(said, sort_keys=True, allow_unicode=True, width=100))


def _said(entry: Any) -> dict[str, Any]:
    """Keys of an entry that are not as by default."""
    return dict(entry.model_dump(mode="json", exclude_defaults=True))


def beside(plan: Plan) -> list[str]:
    """The files that findings read beside their tables."""
    return [f for name in plan.summary for f in plan.config.tables[name].beside(name).values()]


def pools(plan: Plan) -> list[dict[str, Any]]:
    """Pools of the tables that the summary tells of."""
    found = {pool.name: pool for table in plan.summary for pool in plan.table_pools(table)}
    return [
        {"name": pool.name, "models": len(pool.models),
         "domains": pool.domains, "bases": pool.bases,
         "recipes": sorted({model.recipe for model in pool.models if model.recipe})}
        for pool in found.values()
    ]  # fmt: skip
