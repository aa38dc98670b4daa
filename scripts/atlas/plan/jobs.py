"""What a job is about, by its wildcards: its base, its model, or the models of its shard or pool."""

from collections.abc import Mapping

from atlas.plan.resolved import Plan, PlannedModel
from atlas.plan.tasks import task_selection
from atlas.references import known


def base_of(plan: Plan, wildcards: Mapping[str, str]) -> str:
    """The base that a job reads: of a pool, the one that writes continuations.

    :raises AtlasError: where there is no such model.
    """
    match wildcards:
        case {"comparison": name}:
            return plan.config.comparisons[name].base
        case {"delta": name}:
            return plan.config.deltas[name].base
        case {"merged": name}:
            return plan.merged[name].base
        case {"checkpoint": name}:
            return plan.checkpoint(name)[0]
        case {"task": name}:
            selection = plan.config.selections[task_selection(plan.config, name)]
            return plan.pools[selection.pool].bases[0]
        case {"pool": name}:
            return plan.pools[name].writer
        case {"model": name}:
            known(name, plan.models, "results/models", "model")
            return plan.models[name].base
    return wildcards["base"]


def model_of(plan: Plan, wildcards: Mapping[str, str]) -> PlannedModel | None:
    """The model that a job puts into its base, or None where it reads the base alone."""
    match wildcards:
        case {"comparison": _, "model": "base"}:
            return None
        case {"checkpoint": name}:
            return plan.checkpoint(name)[1]
    return plan.models[wildcards["model"]]


def models_of(plan: Plan, wildcards: Mapping[str, str]) -> tuple[PlannedModel, ...]:
    """Models of a shard, or of a pool where no shard is named."""
    pool = plan.pools[wildcards["pool"]]
    return pool.shards[wildcards["shard"]] if "shard" in wildcards else pool.models


def compared(plan: Plan, comparison: str) -> list[list[str]]:
    """Model ("base" for the base) and task of each file of activations of a comparison."""
    entry = plan.config.comparisons[comparison]
    return [[model, task] for task in entry.tasks for model in ["base", *entry.models]]
