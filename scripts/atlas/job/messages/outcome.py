"""What a run has found, and which page to open: said at its end."""

from collections.abc import Collection
from pathlib import Path

from atlas.deployment import Deployment
from atlas.files import read_csv
from atlas.plan import tables
from atlas.plan.resolved import Plan
from atlas.report.summary import findings

HERE = Deployment()  # results/ is in the working folder
MOST = 3  # tables whose findings are said, and files that are named
SENTENCES = 2  # of each table: its first findings


def told(
    plan: Plan, targets: Collection[str], made: Collection[str], place: Deployment = HERE
) -> list[str]:
    """Findings of the tables that were asked for, and the pages that were made with them.

    :param targets: names of the files that were asked for.
    :param made: those of the files of the run, targets and what they were made from.
    """
    names = [name for name in plan.config.tables if f"results/tables/{name}.csv" in targets]
    lines = []
    if len(names) <= MOST:
        found = (first_findings(plan, name, made, Path(place.root)) for name in names)
        lines = [f"* {sentence}" for sentences in found for sentence in sentences]
    pages = [file for file in sorted(targets) if file.endswith(".html")]
    figures = [f"results/tables/{name}.svg" for name in names]
    if "results/summary.html" in targets:
        pages, names = ["results/summary.html"], []
    for file in (file for name in names for file in tables.companions(plan, name)):
        (pages if file.endswith(".html") else figures).append(file)
    drawn = [f"{Path(f).parent}/" for f in figures if f in made and f.endswith(".svg")]
    for what, files in (
        ("Open in a browser", [file for file in pages if file in made]),
        ("Tables", [f"results/tables/{name}.md" for name in names]),
        ("Figures", drawn),
    ):
        shown = list(dict.fromkeys(map(place.path, files)))
        more = f" and {len(shown) - MOST} more" if len(shown) > MOST else ""
        if shown:
            lines.append(f"{what}: {', '.join(shown[:MOST])}{more}")
    return lines


def first_findings(plan: Plan, table: str, made: Collection[str], root: Path) -> list[str]:
    """The first findings of a table; none where a file that they are read from was not asked for.

    :param root: the folder that holds results/.
    """
    entry = plan.config.tables[table]
    beside = entry.beside(table)
    if not set(beside.values()) <= set(made):
        return []
    rows = {name: read_csv(root / file) for name, file in beside.items()}
    return findings(entry.kind, read_csv(root / f"results/tables/{table}.csv"), rows)[:SENTENCES]
