"""What lineage.py says on a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich import markup
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.tree import Tree

from atlas.job.records import Records
from atlas.lineage.causes import Group
from atlas.lineage.diff import Cell, Difference
from atlas.lineage.faults import Verification
from atlas.lineage.graph import Graph
from atlas.lineage.trace import Trace, facts
from atlas.printable import printable

if TYPE_CHECKING:  # they plan, for which much is imported
    from atlas.lineage.clean import Stale
    from atlas.lineage.explain import Explanation

GLANCE, COLUMNS = 40, 80  # lines and columns that are seen at once
MANY = 12  # lines of a kind that are shown before "and … more"


class PlainConsole(Console):
    """A console on which only this program moves the cursor: records are written by anybody."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)  # NAME:x: is no picture

    def render(self, *what: Any, **options: Any) -> Iterator[Segment]:
        """Segments of what is printed, control characters in its texts shown."""
        for segment in super().render(*what, **options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def escape(text: str) -> str:
    """A text as it is, on one line, and no markup."""
    return markup.escape(printable(text, keep=""))


def show_verification(out: Console, found: Verification, seconds: float) -> None:
    """The first broken link of each chain, or that all is whole."""
    size = f"{found.bytes / 1e6:,.0f} MB" if found.bytes >= 1e6 else f"{found.bytes:,} bytes"
    for fault in found.broken:
        behind = f" [dim]({fault.behind} artefacts stand on it)[/]" if fault.behind else ""
        out.print(f"[bold red]{fault.kind}[/]  [bold]{escape(fault.file)}[/] "
                  f"{escape(fault.sentence)}{behind}")  # fmt: skip
    for note in found.notes:
        out.print(f"[yellow]note[/]  {escape(note)}")
    for name in found.absent[:MANY]:
        out.print(f"[dim]absent by policy[/]  {escape(name)}")
    _more(out, len(found.absent), "absent by policy")
    for name in found.elsewhere[:MANY]:
        out.print(f"[dim]not in the crate[/]  {escape(name)}")
    _more(out, len(found.elsewhere), "not in the crate")
    if rest := len(found.faults) - len(found.broken):
        out.print(f"[dim]{rest} more differences follow from these; --json lists them.[/]")
    verdict = "[bold red]broken[/]" if found.faults else "[bold green]whole[/]"
    out.print(f"{verdict}: {found.files:,} files of {found.statements:,} jobs, {size} read in "
              f"{seconds:.1f} s")  # fmt: skip


def show_trace(out: Console, found: Trace, records: Records, depth: int | None = None) -> None:
    """A trace as a tree; a job that is reached twice is expanded once.

    :param depth: jobs behind one another that are shown; None: as many as :data:`GLANCE` lines have room for.
    """
    if found.known_as:
        out.print(escape(found.known_as))
    if found.withdrawn:
        out.print(
            f"[bold red]withdrawn[/]  {escape(found.file)} hangs on {escape(found.withdrawn)}"
        )
    tree = _trace_tree(found, records, 1 if depth is None else depth)
    deepest = len(found.graph.nodes)
    for more in range(2, deepest + 1) if depth is None else ():
        deeper = _trace_tree(found, records, more)
        if _lines(deeper) > GLANCE or _lines(deeper) == _lines(tree):
            break
        tree = deeper
    out.print(tree, soft_wrap=True)


def _lines(tree: Tree) -> int:
    return 1 + sum(map(_lines, tree.children))


def _trace_tree(found: Trace, records: Records, depth: int) -> Tree:
    tree = Tree(f"[bold]{escape(found.file)}[/]")
    tree.add(f"[dim]SHA-256 {found.sha256}[/]")
    if found.row is not None:
        cells = tree.add("row")
        for name, value in found.row.items():
            cells.add(f"[cyan]{escape(name)}[/] {escape(_short(value))}")
    for raw in found.raw:
        content = escape(_short(raw["content"]))
        tree.add(f"row {raw['row']} of {escape(raw['file'])}: [dim]{content}[/]")
    seen: set[str] = set()
    for target in found.graph.targets:
        _branch(tree, found.graph, target, records, seen, depth)
    return tree


def _branch(
    tree: Tree, graph: Graph, node: str, records: Records, seen: set[str], depth: int
) -> None:  # fmt: skip
    entry = graph.nodes[node]
    if entry.statement is None:
        digest = next(iter(entry.outputs.values()))
        tree.add(f"[yellow]{escape(entry.label)}[/]  [dim]SHA-256 {digest[:12]}, not made here[/]")
        return
    if node in seen:
        tree.add(f"[bold]{escape(entry.label)}[/] [dim](above)[/]")
        return
    seen.add(node)
    branch = tree.add(f"[bold]{escape(entry.label)}[/]  [dim]statement {node[:12]}[/]")
    above = graph.above(node)
    if depth <= 1:
        if above:
            branch.add(f"[dim]{len(above)} jobs and files before it; --depth shows more[/]")
        return
    for name, text in facts(records, entry):
        branch.add(f"[cyan]{name}[/] {escape(_with_short_digests(text))}")
    for one in above[:MANY]:
        _branch(branch, graph, one, records, seen, depth - 1)
    if len(above) > MANY:
        branch.add(f"[dim]and {len(above) - MANY} more like these; --json lists them[/]")


def _with_short_digests(text: str) -> str:
    """A text on one line of a terminal, its digests whole or short, and not cut where the line ends."""
    return _short(re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", text), 160)


def show_explanation(out: Console, found: Explanation) -> None:
    """Why a file would be, or was, rebuilt."""
    file, up = f"[bold]{escape(found.file)}[/]", "is up to date; it was made"
    if not (found.again or found.previous or found.otherwise):
        out.print(f"{file} {up} once, at {found.made}.")
        return
    why = "would be made again" if found.again else f"{up} again at {found.made}"
    if found.otherwise:
        why = (f"counts as up to date (as after --touch), and was made otherwise at {found.made}; "
               "--forcerun of these rules makes it again")  # fmt: skip
    out.print(f"{file} {why}, because")
    _causes(out, found.causes)
    if found.again:
        rules = ", ".join(f"{rule} ({n})" if n > 1 else rule for rule, n in found.rules.items())
        out.print(f"{len(found.jobs)} jobs would run: {escape(rules)}")


def _causes(out: Console, causes: list[Group]) -> None:
    if not causes:
        out.print("  nothing that is attested differs.")
    for cause in causes:
        rules = ", ".join(sorted({job.partition(" ")[0] for job in cause.jobs}))
        count = len(cause.jobs)
        where = cause.jobs[0] if count == 1 else f"{count} jobs of {rules}"
        change = f": {_short(cause.before)} -> {_short(cause.after)}"
        if cause.kind == "output":
            change = f" is {cause.before}"
        elif cause.before is cause.after is None:
            change = ""
        out.print(f"  [bold]{cause.kind}[/] [cyan]{escape(cause.name)}[/]{escape(change)}  "
                  f"[dim]({escape(where)})[/]")  # fmt: skip


def show_difference(out: Console, found: Difference) -> None:
    """What differs between two runs, and why."""
    if found.identical:
        out.print(f"[bold green]identical[/]: {found.same:,} artefacts")
        return
    out.print(f"[bold]{len(found.differing)}[/] artefacts differ, {found.same:,} are the same, "
              f"{len(found.only_a)} only in A, {len(found.only_b)} only in B")  # fmt: skip
    for title, names in (("only in A", found.only_a), ("only in B", found.only_b)):
        for name in names[:MANY]:
            out.print(f"  [dim]{title}[/] {escape(name)}")
        _more(out, len(names), title, "")
    if found.causes:
        out.print("nearest causes:")
        _causes(out, found.causes)
    _cells(out, found.rows, "rows", "rows at the root", "line")
    _cells(out, found.cells, "cells", "affected cells", "row", "column")


def _cells(out: Console, cells: list[Cell], what: str, *heads: str) -> None:
    """A table of cells; with two heads, of whole rows."""
    if cells:
        table = Table(*heads, "in A", "in B", box=None)
        for cell in cells[:MANY]:
            place = (cell.file, str(cell.row), str(cell.column))[: len(heads)]
            table.add_row(*map(escape, (*place, _short(cell.before), _short(cell.after))))
        out.print(table)
        _more(out, len(cells), what)


def show_history(out: Console, entries: list[dict[str, Any]]) -> None:
    """Attempts, one a line of :data:`COLUMNS` columns; what went wrong stands below."""
    several = len({_who(entry) for entry in entries}) > 1
    for entry in entries:
        colour = {"finished": "green", "running": "yellow"}.get(entry["outcome"], "red")
        job = " ".join([entry.get("rule", entry["file"]), *entry.get("wildcards", {}).values()])
        if entry.get("attempt", 1) > 1:
            job += f" (attempt {entry['attempt']})"
        start = entry["started"][:19].replace("T", " ") or "?"
        head = f"{start:19}  {entry['outcome']:10}  {_took(entry):>8}  "
        room = COLUMNS - len(head)
        out.print(f"{escape(head[:21])}[{colour}]{escape(entry['outcome']):10}[/]{escape(head[31:])}"
                  f"{escape(_short(job, room))}", soft_wrap=True)  # fmt: skip
        if several:
            out.print(
                f"{'':21}[dim]by {escape(_short(_who(entry), COLUMNS - 24))}[/]", soft_wrap=True
            )
        for line in textwrap.wrap(entry.get("error", ""), COLUMNS - 21):
            out.print(f"{'':21}{escape(line)}", soft_wrap=True)
    out.print(f"{len(entries):,} attempts")


def _who(entry: dict[str, Any]) -> str:
    return f"{entry.get('user', '?')}@{entry.get('host', '?')}"


def _took(entry: dict[str, Any]) -> str:
    """How long an attempt took, where that is known."""
    try:
        start, end = (datetime.fromisoformat(entry[key]) for key in ("started", "ended"))
        return f"{(end - start).total_seconds():.1f} s"
    except (KeyError, TypeError, ValueError):
        return ""


def show_stale(out: Console, found: Stale) -> None:
    """What may go, or went, by folder."""
    asked = [", ".join(files) or "the default" for files in found.configurations]
    out.print(f"asked: {escape('; '.join(asked))}")
    for file in found.gone:
        out.print(f"[yellow]note[/]  {escape(file)} is gone: what only it wanted is listed")
    for folder, count in found.folders().items():
        out.print(f"  {escape(folder)}/ [dim]{count} files[/]")
    for name in found.left:
        out.print(f"  {escape(name)} [dim]half-made, by no run that is known to live[/]")
    if found.behind:
        out.print(f"{len(found.behind)} more files are of no configuration, and what is wanted was made from "
                  "them: they go when that is made again.")  # fmt: skip
    went = "removed" if found.removed else "would go; give --remove"
    files = f"{len(found.files):,} files, {found.bytes / 1e6:,.1f} MB"
    out.print(f"{files}, and {len(found.left)} left half-made: {went}")


def _more(out: Console, count: int, what: str, where: str = "; --json lists them") -> None:
    if count > MANY:
        out.print(f"  [dim]and {count - MANY} more {what}{where}[/]")


def _short(value: Any, width: int = 100) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"
