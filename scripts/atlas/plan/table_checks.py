"""What tables of a kind need beyond their pools, checked before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from atlas.configuration.config import Config
from atlas.configuration.tables import Table
from atlas.errors import AtlasError
from atlas.plan.resolved import PlannedModel, PlannedPool
from atlas.references import known

FAMILIES = ("llama", "gemma", "qwen")  # of resources/published.csv


def check_table(
    config: Config,
    name: str,
    table: Table,
    pools: Mapping[str, PlannedPool],
    models: Mapping[str, PlannedModel],
) -> None:
    """What tables of a kind need beyond their pools."""
    where = f"tables.{name}"
    if table.kind == "geometry":
        _check_geometry(config, where, table)
        return
    if table.kind == "selection":
        if not table.selections:
            raise AtlasError(f"{where}.selections: a table of the kind selection names some.")
        for selection in table.selections:
            known(selection, config.selections, f"{where}.selections", "selection")
        return
    if not table.pools and table.kind != "instruct":
        raise AtlasError(f"{where}.pools: a table of the kind {table.kind} names its pools.")
    if table.kind in ("instruct", "temporal"):
        _check_deltas(config, where, table, models)
    if table.kind == "main":
        for pool, family in table.published.items():
            known(family, FAMILIES, f"{where}.published.{pool}", "family")
    if table.kind == "retrieval":
        for pool in table.pools:
            if pool not in table.queries:
                raise AtlasError(f"{where}.queries: names no pool of queries for {pool!r}.")
            known(table.queries[pool], pools, f"{where}.queries.{pool}", "pool")
            _refuse_seen_rows(config, where, pools[table.queries[pool]], pools[pool])
    needed = {"additive": "delta_activations", "retrieval": "delta_activations",
              "outputs": "output_sentences"}.get(table.kind)  # fmt: skip
    for pool in [*table.pools, *(table.queries.values() if table.kind == "retrieval" else ())]:
        if needed and needed not in pools[pool].settings.spaces:
            raise AtlasError(f"{where}: the pool {pool!r} lacks the space {needed}; add it.")
    for space in table.spaces:
        if not any(space in pools[pool].settings.spaces for pool in table.pools):
            raise AtlasError(f"{where}.spaces: none of its pools has the space {space}.")
    if table.kind == "additive":
        for pool in table.pools:
            if not pools[pool].mixtures:
                raise AtlasError(
                    f"{where}: the pool {pool!r} has no mixture of two datasets with a model of "
                    "each of them beside it, trained from the same base on the same split."
                )


def _check_geometry(config: Config, where: str, table: Table) -> None:
    if not table.comparisons:
        raise AtlasError(f"{where}.comparisons: a table of the kind geometry names comparisons.")
    for name in table.comparisons:
        known(name, config.comparisons, f"{where}.comparisons", "comparison")
        entry = config.comparisons[name]
        if not entry.rl or set(entry.rl) == set(entry.models):
            raise AtlasError(
                f"{where}.comparisons: {name!r} has models of one side only; name those that were "
                f"trained with rewards in comparisons.{name}.rl, and others beside them."
            )


def _refuse_seen_rows(config: Config, where: str, queries: PlannedPool, pool: PlannedPool) -> None:
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


def _check_deltas(
    config: Config, where: str, table: Table, models: Mapping[str, PlannedModel]
) -> None:
    for model in table.models:
        if model in config.bases:
            raise AtlasError(
                f"{where}.models: {model!r} is the name of a base too; rename one of them."
            )
    if not table.models or not table.deltas:
        raise AtlasError(f"{where}: a table of the kind {table.kind} names its models and deltas.")
    for model, delta in product(table.models, table.deltas):
        known(model, models, f"{where}.models", "model")
        known(delta, config.deltas, f"{where}.deltas", "delta")
        if models[model].base != config.deltas[delta].base:
            raise AtlasError(
                f"{where}: the delta {delta!r} is of the base {config.deltas[delta].base!r}, and "
                f"{model!r} was trained from {models[model].base!r}."
            )
    for key, kind in (("texts", "text"), ("chats", "messages")):
        for name in getattr(table, key):
            known(name, config.datasets, f"{where}.{key}", "dataset")
            dataset = config.datasets[name]
            if dataset.template.kind() != kind:
                raise AtlasError(
                    f"{where}.{key}: {name} has rows of the kind {dataset.template.kind()}, not {kind}."
                )
            if dataset.splits.most is None and all(share == 1 for share in dataset.splits.region):
                raise AtlasError(
                    f"{where}.{key}: {name} holds no rows out; set datasets.{name}.splits.region "
                    "below 1."
                )


def check_comparison(config: Config, name: str, models: Mapping[str, PlannedModel]) -> None:
    """What a comparison of geometry needs: models of its base, tasks with prompts held out."""
    comparison, where = config.comparisons[name], f"comparisons.{name}"
    known(comparison.base, config.bases, f"{where}.base", "base")
    for model in comparison.models:
        known(model, models, f"{where}.models", "model")
        if models[model].base != comparison.base:
            raise AtlasError(
                f"{where}.models: {model!r} was trained from {models[model].base!r}, not from "
                f"{comparison.base!r}."
            )
        if model == "base":
            raise AtlasError(f"{where}.models: 'base' is what the base is called here; rename it.")
    for model in comparison.rl:
        known(model, comparison.models, f"{where}.rl", "model of this comparison")
    if comparison.trajectories.prompts and comparison.prompts <= comparison.trajectories.dimensions:
        raise AtlasError(
            f"{where}.prompts: {comparison.prompts} prompts do not vary in "
            f"{comparison.trajectories.dimensions} directions, in which the signatures of "
            "trajectories are computed; more prompts do."
        )
    for task in comparison.tasks:
        known(task, config.datasets, f"{where}.tasks", "dataset")
        kind = config.datasets[task].template.kind()
        if kind not in ("completion", "preference"):
            raise AtlasError(
                f"{where}.tasks: {task} has rows of the kind {kind}, without a prompt."
            )
