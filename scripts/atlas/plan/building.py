"""From a configuration to the things that rules make: models, pools, files, parameters.

Everything here is decided before the DAG is built: grids and sheets are expanded, names are
resolved (with the nearest right one where a name is wrong), and what cannot work is refused.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from atlas.configuration.validation import validate
from atlas.errors import AtlasError
from atlas.plan.checks import check_bases, check_datasets, check_pushes, check_tables
from atlas.plan.comparison_checks import check_comparison
from atlas.plan.grids import expand
from atlas.plan.models import check_chain, resolve_model
from atlas.plan.pools import Globs, repeat_pools, resolve_pool
from atlas.plan.resolved import Plan, merged_models
from atlas.plan.sheets import read_sheet
from atlas.plan.tasks import task_models, task_pools
from atlas.references import known


def in_order(data: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose entries have their keys in alphabetical order.

    Snakemake compares params as text: keys of a file in another order would run its jobs again. Entries
    of a section, and lists of a grid, stay in their order, in which the summary and the grid go through
    them.
    """
    return {
        section: {name: _sorted(entry) for name, entry in entries.items()}
        if isinstance(entries, Mapping) else entries
        for section, entries in data.items()
    }  # fmt: skip


def _sorted(entry: Any) -> Any:
    if isinstance(entry, list):
        return [_sorted(value) for value in entry]
    if not isinstance(entry, Mapping):
        return entry
    return {key: entry[key] if key == "lists" else _sorted(entry[key])
            for key in sorted(entry, key=str)}  # fmt: skip


def build(
    data: Mapping[str, Any], *, default: Mapping[str, Any] | None = None, root: Path | None = None
) -> Plan:
    """Validate a merged configuration and resolve it.

    :param data: the merged configuration.
    :param default: what of it is the default, whose models a user's globs do not take unasked
        (default: nothing).
    :param root: folder that relative paths of sheets start from (default: the working folder).
    :raises AtlasError: in one sentence per error.
    """
    config = validate(in_order(data), "configuration")
    assert config is not None
    root = root or Path()
    check_datasets(config)
    check_tables(config)
    globs = Globs(data, default or {})
    entries = dict(config.models)
    for name in config.models:
        globs.add("models", name, [name])
    for grid in config.grids:
        made = expand(config, grid)
        globs.add("grids", grid, made)
        for name, model in made.items():
            if name in entries and entries[name] != model:
                raise AtlasError(
                    f"grids.{grid}: generates the model {name!r}, which is defined differently "
                    "elsewhere; give one of them another name."
                )
            entries[name] = model
    check_bases(config, entries)
    implicit = {name: base.source.model for name, base in config.bases.items() if base.source.model}
    models = {
        name: resolve_model(config, entries, implicit, name, m) for name, m in entries.items()
    }
    check_chain(models, implicit)
    sheets: dict[str, list[str]] = {}
    for name, pool in config.pools.items():
        sheet = read_sheet(config, pool.sheet, root) if pool.sheet else {}
        sheets[name] = list(sheet)
        globs.add("pools", name, sheet)
        for key, model in sheet.items():
            if models.setdefault(key, model) != model:
                raise AtlasError(
                    f"{pool.sheet}: the model {key!r} is defined differently elsewhere."
                )
    for name, delta in config.deltas.items():
        known(delta.base, config.bases, f"deltas.{name}.base", "base")
        known(delta.instruct, config.bases, f"deltas.{name}.instruct", "base")
    merged = merged_models(config, models, implicit)
    for name in merged:
        if name in models:
            raise AtlasError(f"models.{name}: the name is that of a merged model; choose another.")
    pools = {
        name: resolve_pool(config, name, pool, models, merged, sheets[name], globs)
        for name, pool in config.pools.items()
    }
    for name, entry in task_models(config, pools, implicit):
        if name in models:
            raise AtlasError(
                f"models.{name}: the name is that of a model of a task's examples; choose another."
            )
        models[name] = resolve_model(config, entries, implicit, name, entry)
    for name, pool in task_pools(config, models, pools).items():
        if name in pools:
            raise AtlasError(f"pools.{name}: the name is kept for a selection or a retrieval.")
        pools[name] = pool
    plan = Plan(config, models, pools, implicit)
    for name, table in config.tables.items():
        table.check(f"tables.{name}", plan)
    for name in config.summary:
        known(name, config.tables, "summary", "table")
    repeats = repeat_pools(config, models, pools)
    for name in config.comparisons:
        check_comparison(config, name, models)
    check_pushes(config, models, merged)
    return replace(plan, repeats=repeats)
