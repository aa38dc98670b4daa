"""Tables of results: of one of the kinds that there are, each with keys of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field

from atlas.experiments.entry import DEFAULT, TableEntry, kinds
from atlas.grammar import Name

TABLE_KINDS = kinds()


def table_kinds(data: Mapping[str, Any]) -> dict[str, Any]:
    """Table -> the kind that a configuration says it is of, where it says one."""
    tables = data.get("tables")
    entries = tables if isinstance(tables, dict) else {}
    return {n: e["kind"] for n, e in entries.items() if isinstance(e, dict) and "kind" in e}


def _with_kinds(tables: Any, info: Any) -> Any:
    """Tables with their kinds: a file of several may leave to another what kind a table is of."""
    elsewhere = (info.context or {}).get("kinds", {})
    if not isinstance(tables, dict):
        return tables
    return {
        name: {"kind": elsewhere.get(name, DEFAULT), **entry} if isinstance(entry, dict) else entry
        for name, entry in tables.items()
    }


if TYPE_CHECKING:
    Table = TableEntry
else:
    Table = Annotated[Union[tuple(TABLE_KINDS.values())], Field(discriminator="kind")]  # noqa: UP007

Tables = Annotated[dict[Name, Table], BeforeValidator(_with_kinds)]
