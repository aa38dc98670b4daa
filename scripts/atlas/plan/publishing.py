"""What the rules of crates and uploads read, and are told."""

from typing import Any

from atlas.plan.resolved import Plan
from atlas.plan.tables import companions

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
