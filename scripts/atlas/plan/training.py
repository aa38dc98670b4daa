"""What the rules of training, and of the rows that a model is trained on, are told of a model."""

from typing import Any

from atlas.plan.resolved import Plan


def recipe_params(plan: Plan, model: str) -> dict[str, Any]:
    """What of a recipe the training reads; rows and lengths are the datasets' business."""
    recipe = plan.recipe(model).model_dump(exclude={"rows", "length", "labels", "dtype"})
    other = {"lora", "ia3", "grpo"} - {recipe["parameters"], recipe["objective"]}
    return {key: value for key, value in recipe.items() if key not in other}


def row_params(plan: Plan, model: str) -> list[dict[str, Any]]:
    """Entries of a model's mixture, with the length that each may have, and what of it is learnt."""
    recipe = plan.recipe(model)
    length, labels = recipe.length, recipe.labels
    return [
        {**d.model_dump(), "max_tokens": length.datasets.get(d.dataset, length.max_tokens),
         "labels": {"end": labels.end, "template": labels.template, "keep": labels.keep,
                    "match": labels.datasets.get(d.dataset, labels.match)}}
        for d in plan.models[model].data
    ]  # fmt: skip


def length_params(plan: Plan, model: str) -> dict[str, Any]:
    """What becomes of its long rows."""
    length = plan.recipe(model).length
    return {"policy": length.policy, "prompt_tokens": length.prompt_tokens}


def dtype(plan: Plan, model: str) -> str:
    """Precision in which its base is loaded for training."""
    return plan.recipe(model).dtype or plan.pretrained(plan.models[model].base).dtype


def graded_rows(plan: Plan, model: str) -> list[str]:
    """Raw rows that a grader reads, where a model is trained on rewards."""
    if plan.models[model].objective != "grpo":
        return []
    return [f"results/sources/datasets/{d.dataset}.jsonl" for d in plan.models[model].data]


def completion_room(plan: Plan, model: str) -> int:
    """Tokens that a completion may have, where a model is trained on rewards."""
    recipe = plan.recipe(model)
    return recipe.grpo.new_tokens if recipe.objective == "grpo" else 0


def dataset_languages(plan: Plan, model: str) -> list[str]:
    """Languages of the datasets of a model, where the configuration names them."""
    used = {d.dataset for d in plan.models[model].data}
    return sorted({code for name in used for code in plan.config.datasets[name].language})


def dataset_licences(plan: Plan, model: str) -> dict[str, str]:
    """Datasets of a model as its card names them (on a hub: the repository), with licences."""
    entries = {d.dataset: plan.config.datasets[d.dataset] for d in plan.models[model].data}
    return {
        entry.source.hub.repo if entry.source.hub else name: entry.licence
        for name, entry in entries.items()
    }
