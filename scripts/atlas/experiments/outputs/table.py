"""What each model writes to each probe, for reading."""

from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import read_jsonl, write_bytes, write_csv

COLUMNS = ("pool", "base", "model", "domain", "probe", "text")


def outputs_table(
    *, sentences: list[Path], models: list[dict[str, Any]], table: Path, page: Path
) -> None:
    """Write outputs.csv, one row per model and probe (from 1), and a page to read.

    :param sentences: what the shards of the pools wrote.
    :param models: pool, name, base, domain, in the order of the table.
    :raises AtlasError: where a model wrote nothing.
    """
    texts: dict[tuple[str, str], dict[int, str]] = {}
    for file in sentences:
        pool = file.parent.parent.name
        for row in read_jsonl(file):
            texts.setdefault((pool, row["model"]), {})[row["probe"]] = row["text"]
    rows = []
    for model in models:
        written = texts.get((model["pool"], model["name"]))
        if not written:
            raise AtlasError(f"{model['name']}: no output sentences were generated.")
        rows += [
            {"pool": model["pool"], "base": model["base"], "model": model["name"],
             "domain": model["domain"], "probe": probe + 1, "text": text}
            for probe, text in sorted(written.items())
        ]  # fmt: skip
    write_csv(table, COLUMNS, rows)
    write_bytes(page, _page(rows).encode())


def _page(rows: list[dict[str, Any]]) -> str:
    lines = ["# What the models write to the probes", ""]
    last = None
    for row in rows:
        if (row["pool"], row["model"]) != last:
            last = (row["pool"], row["model"])
            lines += [f"## {row['model']} ({row['domain']})", ""]
        # An indented block shows a text as it is, whatever marks it holds.
        block = [f"    {line}" for line in row["text"].strip().splitlines()] or ["    (nothing)"]
        lines += [f"{row['probe']}.", "", *block, ""]
    return "\n".join(lines)
