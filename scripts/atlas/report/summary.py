"""What the tables of a run say, in sentences whose figures are read from the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.experiments.checkpoint_findings import (
    geometry_findings,
    instruct_findings,
    temporal_findings,
)
from atlas.experiments.experiment_findings import (
    additive_findings,
    outputs_findings,
    retrieval_findings,
    selection_findings,
)
from atlas.experiments.silhouette_findings import (
    main_findings,
    silhouettes_findings,
    spaces_findings,
)
from atlas.experiments.wording import SURE, listed, number
from atlas.files import read_csv, write_bytes

PLAIN = {
    "silhouettes": silhouettes_findings,
    "spaces": spaces_findings,
    "additive": additive_findings,
    "retrieval": retrieval_findings,
    "outputs": outputs_findings,
    "selection": selection_findings,
    "instruct": instruct_findings,
    "geometry": geometry_findings,
}
READING = (  # sure: the p-value from which on something is uncertain
    "Silhouettes are those of the distance clip(1 − cosine, 0, 1) (tables of the kind spaces: "
    "1 − cosine): near 1, domains stand apart; near 0, they do not. Their "
    "intervals are bootstraps over models, p is the share of random labellings that do as well, and "
    "something is called uncertain where an interval includes 0, or where p is {sure} or more. "
    "Published figures are those of arXiv 2509.04442, of other and larger models: they stand there "
    "for orientation."
)


def write_summary(
    *,
    tables: list[Path],
    pool_tables: list[Path],
    distances: list[Path],
    entries: list[dict[str, Any]],
    pools: list[dict[str, Any]],
    seeds: list[int],
    page: Path,
) -> None:
    """Write the findings of tables, a section each, and what was run.

    :param tables: the tables, in the order of `entries`.
    :param pool_tables: silhouette.csv and neighbours.csv of the pools of main tables.
    :param distances: NAME_distances.csv of the temporal tables.
    :param entries: name and kind of each table.
    :param pools: name, models (their number), domains, bases and recipes of the pools of tables.
    :param seeds: global seeds of the run.
    """
    beside = {(file.parent.name, file.name): file for file in pool_tables}
    apart = {file.name: file for file in distances}
    lines = [
        "# Summary of findings", "",
        "Every figure below is read from the table that its section names.", "",
    ]  # fmt: skip
    for entry, file in zip(entries, tables, strict=True):
        rows = read_csv(file)
        if entry["kind"] == "main":
            of = dict.fromkeys(place for place, _ in beside)
            found = main_findings(
                rows,
                {pool: read_csv(beside[pool, "silhouette.csv"]) for pool in of},
                {pool: read_csv(beside[pool, "neighbours.csv"]) for pool in of},
            )
        elif entry["kind"] == "temporal":
            found = temporal_findings(rows, read_csv(apart[f"{entry['name']}_distances.csv"]))
        else:
            found = PLAIN[entry["kind"]](rows)
        lines += [f"## {entry['name'].replace('_', ' ').capitalize()}", "",
                  *(f"* {sentence}" for sentence in found), "", f"Table: `{file.name}`.", ""]  # fmt: skip
    lines += [*_run(pools, seeds), "## How to read this", ""]
    lines += [READING.format(sure=number(SURE))]
    text = "\n".join(lines) + "\n"
    write_bytes(page, text.replace(" %", "\N{NO-BREAK SPACE}%").encode())


def _run(pools: Sequence[dict[str, Any]], seeds: Sequence[int]) -> list[str]:
    """What was run: the pools of the tables, and the seeds."""
    named = listed([str(seed) for seed in seeds])
    lines = ["## What was run", "", f"Global seed{'s' if len(seeds) > 1 else ''}: {named}.", ""]
    if not pools:
        return lines
    lines += ["| pool | models | domains | bases | recipes |", "|---|--:|---|---|---|"]
    for pool in pools:
        cells = (pool["name"], pool["models"], *(", ".join(pool[key]) or "–" for key in
                 ("domains", "bases", "recipes")))  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, ""]
