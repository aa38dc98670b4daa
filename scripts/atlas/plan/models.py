"""Models of a configuration, each with its references checked and what follows from them."""

from collections.abc import Mapping

from atlas.configuration.config import Config
from atlas.configuration.models import BaseRef, Model
from atlas.errors import AtlasError
from atlas.plan.checks import check_rewards
from atlas.plan.resolved import PlannedModel, model_seed
from atlas.references import known

# Objective -> the kinds of rows that it is trained on.
ROW_KINDS = {"sft": ("completion", "messages"), "dpo": ("preference",), "cpt": ("text",),
             "grpo": ("completion",)}  # fmt: skip


def resolve_model(
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
        if kind not in ROW_KINDS[recipe.objective]:
            raise AtlasError(
                f"{where}: the objective {recipe.objective} takes rows of kind "
                f"{' or '.join(ROW_KINDS[recipe.objective])}, and {entry.dataset} has {kind}."
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


def check_chain(models: Mapping[str, PlannedModel], implicit: Mapping[str, str]) -> None:
    """Refuse a model that is, through others, its own base."""
    for start in models:
        seen = [start]
        while (parent := implicit.get(models[seen[-1]].base)) is not None:
            if parent in seen:
                raise AtlasError(f"models.{start}: its base is, through others, itself: "
                                 + " <- ".join([*seen, parent]))  # fmt: skip
            seen.append(parent)
