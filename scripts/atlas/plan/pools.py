"""Pools of a configuration, each with the models that its names and globs stand for."""

import fnmatch
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from atlas.configuration.config import Config
from atlas.configuration.pools import Pool
from atlas.errors import AtlasError
from atlas.plan.resolved import PlannedModel, PlannedPool, model_seed
from atlas.references import known


class Globs:
    """Which models a glob of a pool takes.

    A glob of a user's pool takes models of the user's own, and those of the default only where none
    of its own matches; a glob of a pool of the default never takes a user's. An entry of the default
    that a user changes is the user's, and the default's pools still take its models.

    :param data: the whole configuration, merged.
    :param default: what of it is the default.
    """

    def __init__(self, data: Mapping[str, Any], default: Mapping[str, Any]) -> None:
        self._data, self._default = data, default
        self._own: set[str] = set()
        self._others: set[str] = set()

    def _is_own(self, section: str, name: str) -> bool:
        return bool(self._data[section][name] != self._default.get(section, {}).get(name))

    def add(self, section: str, name: str, models: Iterable[str]) -> None:
        """Models that an entry of models, grids or pools (their sheets) defines."""
        if self._is_own(section, name):
            self._own.update(models)
        if name in self._default.get(section, {}):
            self._others.update(models)

    def matching(self, pool: str, pattern: str) -> list[str]:
        """Names of the models that a glob of a pool takes."""
        own = fnmatch.filter(self._own, pattern) if self._is_own("pools", pool) else []
        return own or fnmatch.filter(self._others, pattern)


def resolve_pool(
    config: Config, name: str, pool: Pool, models: Mapping[str, PlannedModel],
    merged: Mapping[str, PlannedModel], sheet: Iterable[str], globs: Globs,
) -> PlannedPool:  # fmt: skip
    """Resolve the globs of a pool."""
    chosen = set(sheet)
    for pattern in pool.models:
        if any(c in pattern for c in "*?["):
            matched = globs.matching(name, pattern)
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


def repeat_pools(
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
                if models.get(copy.name, copy) != copy:
                    raise AtlasError(
                        f"models.{copy.name}: the name is kept for the seed {seed} of {model.name!r}."
                    )
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
