"""What comparisons of geometry need, checked before anything is made."""

from collections.abc import Mapping

from atlas.configuration.config import Config
from atlas.errors import AtlasError
from atlas.plan.resolved import PlannedModel
from atlas.references import known


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
    for task in comparison.learnt:
        known(task, comparison.tasks, f"{where}.learnt", "task of this comparison")
    if "resid_post" not in comparison.streams:
        raise AtlasError(
            f"{where}.streams: leaves out resid_post, of which tables and figures are; name it too."
        )
    if comparison.trajectories.prompts and comparison.prompts <= comparison.trajectories.dimensions:
        raise AtlasError(
            f"{where}.prompts: {comparison.prompts} prompts do not vary in "
            f"{comparison.trajectories.dimensions} directions, in which the signatures of "
            "trajectories are computed; more prompts do."
        )
    if comparison.answers.prompts > comparison.prompts:
        raise AtlasError(
            f"{where}.answers.prompts: {comparison.answers.prompts} are more than the {comparison.prompts} "
            "whose activations are read; no more than those can be probed."
        )
    for task in comparison.tasks:
        known(task, config.datasets, f"{where}.tasks", "dataset")
        template = config.datasets[task].template
        if not template.framed:
            raise AtlasError(
                f"{where}.tasks: {task} has rows of the kind {template.kind()}, without a prompt."
            )
