"""What the tables of a run say, in sentences whose figures are read from the tables."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from atlas.experiments.wording import SURE, Beside, Rows, listed, number
from atlas.files import read_csv, write_bytes
from atlas.report.checkout import described

READING = (  # sure: the p-value from which on something is uncertain
    "Silhouettes are those of the distance clip(1 − cosine, 0, 1) (tables of the kind spaces: "
    "1 − cosine): near 1, domains stand apart; near 0, they do not. Above 0.5 they are said to stand "
    "clearly apart, above 0.25 weakly, else hardly (the bounds of Kaufman and Rousseeuw, 1990). Their "
    "intervals are bootstraps over models, p is the share of random labellings that do as well, and "
    "something is called uncertain where an interval includes 0, or where p is {sure} or more. "
    "Published figures are those of arXiv 2509.04442, of other and larger models: they stand there "
    "for orientation."
)


def write_summary(
    *, tables: list[Path], beside: list[Path], entries: list[dict[str, Any]],
    pools: list[dict[str, Any]], seeds: list[int], configuration: str, page: Path
) -> None:  # fmt: skip
    """Write the findings of tables, a section each with its figures, and what was run.

    :param tables: the tables, in the order of `entries`.
    :param beside: further files that findings are made from, in the order of `entries`.
    :param entries: of each table its name, its kind, what its findings call the files beside it,
        figures (what each shows, file) and navigators (pool, file), seen from the page.
    :param pools: name, models (their number), domains, bases and recipes of the pools of tables.
    :param seeds: global seeds of the run.
    :param configuration: what it says of tables and pools, as YAML.
    """
    further = iter(beside)
    lines = [
        "# Summary of findings", "",
        "Every figure below is read from the table that its section names.", "",
    ]  # fmt: skip
    for entry, file in zip(entries, tables, strict=True):
        files = {name: read_csv(next(further)) for name in entry["beside"]}
        found = findings(entry["kind"], read_csv(file), files)
        lines += [f"## {entry['name'].replace('_', ' ').capitalize()}", "",
                  *(f"* {sentence}" for sentence in found), "",
                  *(f"![{title}]({place})\n" for title, place in entry["figures"]),
                  _links(entry, file.name), ""]  # fmt: skip
    lines += [*_run(pools, seeds, configuration), "## How to read this", ""]
    lines += [READING.format(sure=number(SURE))]
    text = "\n".join(lines) + "\n"
    write_bytes(page, text.replace(" %", "\N{NO-BREAK SPACE}%").encode())


def _links(entry: dict[str, Any], table: str) -> str:
    """Where to read on: the table, as a page and for programs, and the navigators of its pools."""
    page = f"[as a page](tables/{table.removesuffix('.csv')}.html)"
    pools = [f"[navigator of {pool}]({place})" for pool, place in entry["navigators"]]
    return f"Table: [`{table}`](tables/{table}), {', '.join([page, *pools])}."


def findings(kind: str, table: Rows, beside: Beside) -> list[str]:
    """The sentences of a table, by the module of its kind."""
    found: list[str] = import_module(f"atlas.experiments.{kind}.findings").findings(table, beside)
    return found


def _run(pools: Sequence[dict[str, Any]], seeds: Sequence[int], configuration: str) -> list[str]:
    """What was run: by which state of the workflow, with which seeds, pools and configuration."""
    named = listed([str(seed) for seed in seeds])
    lines = ["## What was run", "",
             f"{described()}. Global seed{'s' if len(seeds) > 1 else ''}: {named}. When each job ran and "
             "what it read: `python scripts/lineage.py trace results/summary.md`.", ""]  # fmt: skip
    settings = ["What the configuration says of tables and pools:", "", "```yaml",
                configuration.rstrip(), "```", ""]  # fmt: skip
    if not pools:
        return [*lines, *settings]
    lines += ["| pool | models | domains | bases | recipes |", "|---|--:|---|---|---|"]
    for pool in pools:
        cells = (pool["name"], pool["models"], *(", ".join(pool[key]) or "–" for key in
                 ("domains", "bases", "recipes")))  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, "", *settings]
