"""What rules are told of the models of pools."""

from collections.abc import Iterable
from typing import Any

from atlas.configuration.sources import described, source_params
from atlas.plan.resolved import Plan, PlannedModel


def told(models: Iterable[PlannedModel], *keys: str) -> list[dict[str, Any]]:
    """Attributes of models as plain values."""
    return [{key: getattr(model, key) for key in keys} for model in models]


def reported_models(plan: Plan, pool: str) -> list[dict[str, str]]:
    """Adapters made elsewhere of a pool, by name, with where they are from.

    Without their domains: another domain would have jobs that read no domain planned again.
    """
    shards = plan.pools[pool].reported.values()
    return [
        {"name": m.name, "source": described(m.source)}
        for m in sorted((m for shard in shards for m in shard), key=lambda m: m.name)
    ]


def navigator_models(plan: Plan, pool: str) -> list[dict[str, Any]]:
    """Models of a pool with what the navigator says of where they are from."""
    models = plan.pools[pool].models
    rows = told(models, "name", "base", "domain", "recipe", "variant", "delta")
    for row, m in zip(rows, models, strict=True):
        row["seed"] = m.seed if m.trained else None
        row["data"] = [d.model_dump() for d in m.data]
        row["origin"] = m.origin or described(m.source)
        row["file"] = m.files()[0]
        row |= _in_a_sheet(m)
    return rows


def _in_a_sheet(model: PlannedModel) -> dict[str, Any]:
    """What a sheet for another pool says of a model: a repository, or the folder where it lies."""
    hub = (model.source or {}).get("hub") or {}
    revision = f"@{hub['revision']}" if hub.get("revision") else ""
    return {
        "hub": hub.get("repo"),
        "source": f"{hub['repo']}{revision}" if hub else f"./{model.folder}",
        "subfolder": hub.get("subfolder"),
        "kind": "adapter" if model.adapter else "full",
        "more": model.more,
    }


def navigator_datasets(plan: Plan, pool: str) -> dict[str, dict[str, str]]:
    """Datasets that models of a pool were trained on: domain, licence, where they are from."""
    used = {d.dataset for m in plan.pools[pool].models for d in m.data}
    found = {}
    for name in sorted(used):
        entry = plan.config.datasets[name]
        source = described(source_params(entry.source))
        found[name] = {"domain": entry.domain, "licence": entry.licence, "source": source}
    return found
