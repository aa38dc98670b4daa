"""Tasks that are known by a few examples: the models and pools that stand for them.

Selections and retrievals train a model on the examples of each task and embed it; both are decided
before anything is made.
"""

from collections.abc import Iterator, Mapping

from atlas.configuration.config import Config
from atlas.configuration.models import BaseRef, Data, Model
from atlas.configuration.pools import Pool
from atlas.configuration.selections import Retrieval, Selection
from atlas.errors import AtlasError
from atlas.plan.resolved import PlannedModel, PlannedPool
from atlas.references import known

SPACE = "delta_activations"


def selection_model(task: str) -> str:
    """Name of the model that is trained on the examples of a task."""
    return f"selection-{task}"


def task_selection(config: Config, task: str) -> str:
    """Name of the selection that a task belongs to."""
    return next(name for name, entry in config.selections.items() if task in entry.tasks)


def selection_pool(selection: str) -> str:
    """Name of the pool of these models."""
    return f"selection.{selection}"


def retrieval_models(name: str, bases: list[str]) -> dict[str, str]:
    """Base -> name of the model that is trained from it on the examples of a retrieval."""
    if len(bases) == 1:
        return {bases[0]: f"retrieval-{name}"}
    return {base: f"retrieval-{name}-{base}" for base in bases}


def retrieval_pool(name: str) -> str:
    """Name of the pool of these models."""
    return f"retrieval.{name}"


def task_models(
    config: Config, pools: Mapping[str, PlannedPool], implicit: Mapping[str, str]
) -> Iterator[tuple[str, Model]]:
    """Models of the examples of all tasks, as entries of a configuration.

    :raises AtlasError: where a selection or a retrieval cannot work.
    """
    _check_tasks_apart(config)
    for name, selection in config.selections.items():
        _check_selection(config, name, selection, pools)
        (base,) = pools[selection.pool].bases
        for task in selection.tasks:
            data = Data(dataset=task, split="region", rows=selection.examples)
            sentence = f"Trained on {selection.examples} examples of the task {task}."
            yield selection_model(task), _model(base, implicit, selection.recipe, data, sentence)
    for name, retrieval in config.retrievals.items():
        _check_retrieval(config, name, retrieval, pools)
        for base, model in retrieval_models(name, pools[retrieval.pool].bases).items():
            data = Data(dataset=retrieval.dataset, split=retrieval.split, rows=retrieval.rows)
            sentence = f"Trained on a few examples, to look {name} up."
            yield model, _model(base, implicit, retrieval.recipe, data, sentence)


def task_pools(
    config: Config, models: Mapping[str, PlannedModel], pools: Mapping[str, PlannedPool]
) -> dict[str, PlannedPool]:
    """The pools of these models, in the one space that is read."""
    found = {}
    for name, selection in config.selections.items():
        found[selection_pool(name)] = [selection_model(task) for task in selection.tasks]
    for name, retrieval in config.retrievals.items():
        of_base = retrieval_models(name, pools[retrieval.pool].bases)
        found[retrieval_pool(name)] = list(of_base.values())
    return {
        pool: PlannedPool(
            pool, tuple(models[name] for name in sorted(names)), Pool(models=names, spaces=[SPACE])
        )
        for pool, names in found.items()
    }


def _model(base: str, implicit: Mapping[str, str], recipe: str, data: Data, sentence: str) -> Model:
    return Model(
        base=BaseRef(model=implicit[base]) if base in implicit else base, recipe=recipe,
        data=[data], card=sentence,
    )  # fmt: skip


def _check_tasks_apart(config: Config) -> None:
    owner: dict[str, str] = {}
    for name, selection in config.selections.items():
        for task in selection.tasks:
            if task in owner:
                raise AtlasError(
                    f"selections.{name}.tasks: {task!r} is a task of {owner[task]!r} already, and "
                    "results/selection/ has one folder per task; give the dataset another name."
                )
            owner[task] = name


def _check_selection(
    config: Config, name: str, selection: Selection, pools: Mapping[str, PlannedPool]
) -> None:
    where = f"selections.{name}"
    pool = _check_pool(config, where, selection, pools)
    if len(pool.bases) > 1:
        raise AtlasError(
            f"{where}.pool: {selection.pool!r} has models of {' and '.join(pool.bases)}; models of "
            "one base are composed."
        )
    full = [model.name for model in pool.models if not model.adapter]
    if full:
        raise AtlasError(f"{where}.pool: {full[0]!r} is a full model; adapters are composed.")
    if selection.size > len(pool.models):
        raise AtlasError(
            f"{where}.size: the pool {selection.pool!r} has {len(pool.models)} models, fewer than "
            f"{selection.size}; set a smaller size."
        )
    for task in selection.tasks:
        known(task, config.datasets, f"{where}.tasks", "dataset")
        dataset = config.datasets[task]
        if dataset.template.kind() != "completion":
            raise AtlasError(
                f"{where}.tasks: {task} has rows of the kind {dataset.template.kind()}, and an exact "
                "match needs a completion."
            )
        if not dataset.splits.hold_rows_out():
            raise AtlasError(
                f"{where}.tasks: {task} holds no rows out; set datasets.{task}.splits.region below 1."
            )
        for model in pool.models:
            if any(entry.dataset == task for entry in model.data):
                raise AtlasError(
                    f"{where}.tasks: {model.name} of the pool is trained on {task}, which so is not "
                    "held out."
                )


def _check_retrieval(
    config: Config, name: str, retrieval: Retrieval, pools: Mapping[str, PlannedPool]
) -> None:
    where = f"retrievals.{name}"
    _check_pool(config, where, retrieval, pools)
    known(retrieval.dataset, config.datasets, f"{where}.dataset", "dataset")


def _check_pool(
    config: Config, where: str, entry: Selection | Retrieval, pools: Mapping[str, PlannedPool]
) -> PlannedPool:
    known(entry.pool, pools, f"{where}.pool", "pool")
    known(entry.recipe, config.recipes, f"{where}.recipe", "recipe")
    if SPACE not in pools[entry.pool].settings.spaces:
        raise AtlasError(f"{where}.pool: {entry.pool!r} lacks the space {SPACE}; add it.")
    return pools[entry.pool]
