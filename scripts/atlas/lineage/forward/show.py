"""What hangs on a thing, on a terminal: a tree, nearest first, and what follows from it."""

from collections import defaultdict

from rich.console import Console
from rich.tree import Tree

from atlas.lineage._terminal import MANY, escape
from atlas.lineage.forward.affected import Affected, Reached
from atlas.lineage.forward.find import Found
from atlas.lineage.forward.withdrawing import Listed
from atlas.lineage.graph import ranges
from atlas.progress import lasting

DEPTH = 3  # steps away from the thing that are shown


def show_affected(out: Console, found: Affected, depth: int | None) -> None:
    """The tree of artefacts, then tables, uploads, crates and what would be made again.

    :param depth: steps that are shown; None for :data:`DEPTH`.
    """
    holding = found.holding
    if not found.artefacts:
        out.print(f"[bold]{escape(found.what)}[/]: no artefact that is here hangs on it.")
    elif not holding:
        out.print(f"[bold]{escape(found.what)}[/]: is in no artefact that is here.")
    else:
        out.print(_tree(found, holding, DEPTH if depth is None else depth), soft_wrap=False)
    for one in holding:
        if one.file.startswith("results/tables/") and one.file.endswith(".csv"):
            rows = "all rows" if one.rows is None else f"rows {_numbers(one.rows)}"
            out.print(f"[bold red]table[/]  {escape(one.file)}: {rows}")
    for upload in found.uploads:
        if upload.holds:
            out.print(f"[bold red]uploaded[/]  {escape(upload.path)} to {escape(upload.repo)} at "
                      f"{escape(upload.finished[:19])}")  # fmt: skip
    for crate in found.crates:
        out.print(f"[bold red]handed over[/]  {escape(crate)}")
    out.print(_sum(found))


def show_found(out: Console, found: list[Found]) -> None:
    """Artefacts, each with its job and when it was made."""
    for one in found:
        old = "" if one.newest else "  [dim]replaced since[/]"
        out.print(f"{escape(one.file)}  [dim]{one.finished[:19]} {escape(one.rule)} "
                  f"SHA-256 {one.sha256[:12]}[/]{old}")  # fmt: skip
    out.print(f"{len(found):,} artefacts")


def show_notices(out: Console, listed: list[Listed]) -> None:
    """Notices, the newest first."""
    if not listed:
        out.print("Nothing was withdrawn.")
    for one in listed:
        notice, colour = one.notice, "red" if one.hanging else "green"
        out.print(
            f"[bold]{notice.id}[/]  {escape(notice.thing.what)}  [{colour}]{escape(one.state)}[/]"
        )
        out.print(f"  {escape(notice.reason)}  [dim]{notice.time[:19]} {escape(notice.user)}[/]")


def _tree(found: Affected, holding: list[Reached], depth: int) -> Tree:
    """A branch for each job, under the job that leads to it; the jobs with most behind them first."""
    tree = Tree(f"[bold]{escape(found.what)}[/]  [dim]artefacts that hang on it: {len(holding)}[/]")
    job_of = {one.file: one.statement for one in holding}
    files: dict[str, list[Reached]] = defaultdict(list)
    above: dict[str, str] = {}
    for one in holding:
        files[one.statement].append(one)
        # What leads there may have been replaced since: the nearest that is here has it below it.
        nearest = next((job_of[path] for path in reversed(one.why[:-1]) if path in job_of), "")
        above.setdefault(one.statement, nearest)
    below: dict[str, list[str]] = defaultdict(list)
    for job, other in above.items():
        below[other if other != job else ""].append(job)
    behind: dict[str, int] = defaultdict(int)
    for job in reversed(above):  # nearest come first
        behind[job] += len(files[job])
        if above[job] and above[job] != job:
            behind[above[job]] += behind[job]

    def branch(under: Tree, job: str, left: int) -> None:
        jobs = sorted(below[job], key=lambda one: (-behind[one], files[one][0].file))
        for one in jobs[:MANY]:
            first, more = files[one][0], len(files[one]) - 1
            label = escape(first.file) + (f" and {more} more" if more else "")
            label += f"  [dim]{escape(first.job)}[/]"
            hidden = behind[one] - len(files[one])
            if hidden and left <= 1:
                label += f" [dim]… {hidden} behind it[/]"
            twig = under.add(label)
            if left > 1:
                branch(twig, one, left - 1)
        if len(jobs) > MANY:
            rest = sum(behind[one] for one in jobs[MANY:])
            under.add(f"[dim]and {rest} more of {len(jobs) - MANY} jobs; --json lists them[/]")

    branch(tree, "", depth)
    return tree


def _sum(found: Affected) -> str:
    jobs = sum(found.rules.values())
    lines = []
    if moved := len(found.artefacts) - len(found.holding):
        lines.append(f"Made of files that have it, without it themselves: {moved} more; they change only "
                     "where what is taken out moves the rows after it.")  # fmt: skip
    if found.earlier:
        lines.append(f"Hung on it, and were replaced since: {found.earlier}.")
    rules = ", ".join(f"{rule} ({n})" if n > 1 else rule for rule, n in found.rules.items())
    if jobs:
        lines.append(
            f"Jobs that would run again: {jobs}, which took {lasting(found.seconds)}: {escape(rules)}"
        )
    return "\n".join(lines or ["Nothing would be made again."])


def _numbers(numbers: list[int]) -> str:
    """``1-3, 7``."""
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges(numbers))
