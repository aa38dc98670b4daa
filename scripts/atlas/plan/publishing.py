"""What the rules of crates and uploads read, and are told."""

from collections.abc import Iterable, Mapping
from typing import Any

from atlas.plan.resolved import Plan, PlannedModel
from atlas.plan.tables import companions
from atlas.plan.tasks import selection_model, task_selection

# Folders of results/: a table that has the name of one is asked for by its path when a crate of it
# is wanted (results/crates/tables/{table}.csv/).
FOLDERS = ("sources", "datasets", "models", "merged", "pools", "deltas", "pushed", "comparisons",
           "evaluations", "retrieval", "selection", "tables", "figures")  # fmt: skip


def crate_tables(plan: Plan) -> list[str]:
    """Tables whose crates are asked for by their name."""
    return [table for table in plan.config.tables if table not in FOLDERS]


def crate_artefact(plan: Plan, target: str) -> str:
    """The artefact that a crate is about: a table by its name, or a path below results/."""
    return f"results/tables/{target}.csv" if target in crate_tables(plan) else f"results/{target}"


def crate_companions(plan: Plan, target: str) -> list[str]:
    """What belongs to the table of a crate without being behind it."""
    artefact = crate_artefact(plan, target)
    tables = [name for name in plan.config.tables if artefact == f"results/tables/{name}.csv"]
    return [file for table in tables for file in companions(plan, table)]


def billed_models(plan: Plan, wildcards: Mapping[str, str]) -> list[PlannedModel]:
    """The models of a bill of materials: those of a pool, or that a task's are composed of, or one."""
    match wildcards:
        case {"pool": name}:
            return list(plan.pools[name].models)
        case {"task": task}:
            selection = plan.config.selections[task_selection(plan.config, task)]
            return [*plan.pools[selection.pool].models, plan.models[selection_model(task)]]
        case {"merged": name}:
            return [plan.merged[name]]
    return [plan.models[wildcards["model"]]]


def weights_of(models: Iterable[PlannedModel]) -> list[str]:
    """A file of the weights of each model."""
    return [next(f for f in model.files() if f.endswith(".safetensors")) for model in models]


def bill_sources(plan: Plan, models: Iterable[PlannedModel]) -> list[str]:
    """What bills of models are told from: their cards, settings and records, and those behind them.

    Not their weights, whose digests the cards have: they may be large, or not be kept.
    """
    found: dict[str, None] = {}
    queue = list(models)
    for model in queue:
        own = ["adapter_config.json" if model.adapter else "config.json", "README.md"]
        own += ["training.csv"] if model.trained else []
        found |= dict.fromkeys(f"{model.folder}/{name}" for name in own)
        found |= dict.fromkeys(f"results/sources/datasets/{d.dataset}.json" for d in model.data)
        bases = [model.base]
        if model.delta:
            assert model.origin is not None
            found |= dict.fromkeys(delta_sources(plan, model.delta))
            queue.append(plan.models[model.origin])
        for base in bases:
            found |= dict.fromkeys(plan.base_files(base)[:2])
            if base in plan.implicit:
                queue.append(plan.models[plan.implicit[base]])
    return sorted(found)


def delta_sources(plan: Plan, delta: str) -> list[str]:
    """What the bill of a delta is told from."""
    entry = plan.config.deltas[delta]
    bases = [file for base in (entry.base, entry.instruct) for file in plan.base_files(base)[:2]]
    return [f"results/deltas/{delta}/delta_meta.json", *bases]


def push_origins(plan: Plan, push: str) -> dict[str, dict[str, Any]]:
    """Of the upload of a delta: where base and instruct model are from, with their licences."""
    kind, _, name = plan.config.pushes[push].path.partition("/")
    if kind != "deltas":
        return {}
    found = {}
    for role in ("base", "instruct"):
        base = getattr(plan.config.deltas[name], role)
        address, revision = plan.base_address(base)
        licence = plan.config.bases[base].licence
        found[role] = {"address": address, "revision": revision, "licence": licence}
    return found


def card_sources(plan: Plan, push: str) -> list[str]:
    """What the card of an upload is told from."""
    model, folder = plan.pushed(push), f"results/{plan.config.pushes[push].path}"
    if model is None:
        return [f"{folder}/delta_meta.json"]
    measured = [f"{folder}/perplexity.csv"] if model.name in plan.trained_on_text else []
    return [f"{folder}/README.md", plan.base_files(model.base)[0], *measured]


def signed_files(plan: Plan, wildcards: Mapping[str, str]) -> list[str]:
    """What the signature of a model is of: all that is uploaded, but its card."""
    (model,) = billed_models(plan, wildcards)
    generation = [f"{model.folder}/generation_config.json"] if model.delta else []
    return [*model.files(), *generation, f"{model.folder}/bom.cdx.json"]
