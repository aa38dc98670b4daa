"""What hangs on a thing: artefacts, rows of tables, uploads, crates; and what would be made again."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atlas.job.records import BrokenRecordError, Records
from atlas.job.statements import Statement, is_artefact
from atlas.job.withdrawn.reach import File, Held, Step, forward
from atlas.job.withdrawn.things import ROWS, Thing
from atlas.lineage.forward.index import AtHand
from atlas.lineage.forward.table_rows import touched_rows
from atlas.lineage.graph import Graph, Node, job_node

PUSH, CRATE = "atlas.publishing.push:push", "atlas.publishing.crates.write:write_crate"


@dataclass
class Reached:
    """An artefact that hangs on a thing.

    :param statement: SHA-256 of that of the job. :param distance: jobs between it and the thing.
    :param holds: False of what has the thing nowhere in it, and is made of a file whose lines move when
        rows are taken out of it.
    :param why: files from the thing to this one; the first is the thing, or what a job with it wrote.
    :param rows: of a table, those that are touched, counted from 1; None: it is no table, or all are.
    """

    file: str
    sha256: str
    job: str
    statement: str
    distance: int
    holds: bool
    why: list[str]
    rows: list[int] | None = None


@dataclass
class Upload:
    """What was uploaded of it; a hub keeps it, whatever is made again here."""

    repo: str
    path: str
    finished: str
    holds: bool
    why: list[str]


@dataclass
class Affected:
    """What hangs on a thing.

    :param outside: files that no job made and that are the thing, or have it in them.
    :param artefacts: as they are now, nearest first. :param crates: of them, those that are handed over.
    :param earlier: number of artefacts that were made of it and have been replaced since.
    :param rules: jobs that would run again, by rule. :param seconds: what these took the last time.
    """

    what: str
    thing: Thing
    outside: list[str] = field(default_factory=list)
    artefacts: list[Reached] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    crates: list[str] = field(default_factory=list)
    earlier: int = 0
    rules: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def holding(self) -> list[Reached]:
        """Artefacts that have the thing in them."""
        return [one for one in self.artefacts if one.holds]

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "what": self.what, "kind": self.thing.kind, "thing": self.thing.plain(), "outside": self.outside,
            "artefacts": [vars(one) for one in self.artefacts], "crates": self.crates,
            "uploads": [vars(one) for one in self.uploads], "earlier": self.earlier,
            "again": {"jobs": sum(self.rules.values()), "rules": self.rules, "seconds": self.seconds},
        }  # fmt: skip


def affected(records: AtHand, thing: Thing) -> Affected:
    """Follow a thing forward."""
    statements = records.every
    step = Step(thing, records)
    held = forward(step, statements)
    every = forward(Step(thing, records, whole=True), statements) if thing.kind == ROWS else held
    ways = _Ways(statements, every, held)
    found = Affected(thing.what, thing)
    found.outside = sorted({path for path, _ in held if not is_artefact(path)})
    again: dict[str, Statement] = {}
    written: set[File] = set()
    for made in statements:
        if not (files := [file for file in made.outputs.items() if file in every]):
            continue
        current = [path for path, digest in files if _is_newest(records, path, made)]
        written.update(files)
        if current:
            again[made.digest] = made
        for path in current:
            file = (path, made.outputs[path])
            rows = touched_rows(records, path, thing, held) if path.endswith(".csv") else None
            found.artefacts.append(Reached(*file, made.job, made.digest, ways.distance[file], file in held,
                                           ways.why(file), rows))  # fmt: skip
        if made.code["function"] == PUSH:
            found.uploads += _upload(made, ways, held)
    found.earlier = len(written - {(one.file, one.sha256) for one in found.artefacts})
    found.artefacts.sort(key=lambda one: (not one.holds, one.distance, one.file))
    found.uploads.sort(key=lambda one: (not one.holds, one.finished))
    found.crates = _crates(found, again.values(), statements, records)
    found.rules = dict(sorted(Counter(made.rule for made in again.values()).items()))
    found.seconds = round(sum(map(_took, again.values())), 3)
    return found


def graph_of(records: AtHand, found: Affected) -> Graph:
    """Jobs whose outputs have the thing in them, with the files that go from one to the next."""
    graph = Graph()
    files = {(one.file, one.sha256) for one in found.holding}
    for made in records.every:
        if not files.isdisjoint(made.outputs.items()):
            graph.nodes[made.digest] = job_node(made)
    for node in list(graph.nodes.values()):
        for path, digest in node.statement.inputs.items() if node.statement else ():
            above = records.maker(path, digest) if is_artefact(path) else None
            source = above.digest if above else path
            if path in found.outside:
                graph.nodes.setdefault(path, Node(path, path, "outside", {path: digest}))
            if source in graph.nodes and ((path, digest) in files or path in found.outside):
                graph.edges.setdefault((source, node.id), []).append(path)
    graph.targets = sorted(set(graph.nodes) - {reader for _, reader in graph.edges})
    return graph


def _is_newest(records: Records, path: str, made: Statement) -> bool:
    try:
        newest = records.pointed(path)
    except BrokenRecordError:
        return False
    return newest == made.digest


def _took(made: Statement) -> float:
    start, end = (datetime.fromisoformat(t) for t in (made.started, made.finished))
    try:
        return max(0.0, (end - start).total_seconds())
    except TypeError:  # one of them has no time zone
        return 0.0


def _upload(made: Statement, ways: "_Ways", held: Mapping[File, Held]) -> Iterable[Upload]:
    file = min(made.outputs.items())
    repo, path = (str(made.params.get(key, "")) for key in ("repo", "path"))
    yield Upload(repo, path, made.finished, file in held, ways.why(file))


def _crates(
    found: Affected, again: Iterable[Statement], statements: Iterable[Statement], records: Records
) -> list[str]:
    """Crates that have one of the artefacts in them: also such as only lie beside what the crate is of."""
    holding = {one.file for one in found.holding}
    crates = [made for made in statements if made.code["function"] == CRATE]
    return sorted(
        path for made in crates for path in made.outputs
        if _is_newest(records, path, made)
        and (path in holding or holding & set(made.params.get("companions") or ()))
    )  # fmt: skip


class _Ways:
    """The shortest way from a thing to each file that hangs on it."""

    def __init__(
        self, statements: Iterable[Statement], every: Mapping[File, Held], held: Mapping[File, Held]
    ) -> None:
        readers: dict[File, list[Statement]] = defaultdict(list)
        made_here: set[File] = set()
        first: list[File] = []
        for made in statements:
            inputs = [file for file in made.inputs.items() if file in every]
            outputs = [file for file in made.outputs.items() if file in every]
            made_here.update(outputs)
            for file in inputs:
                readers[file].append(made)
            if not inputs:
                first += outputs
        first += [file for file in every if file not in made_here]
        self.distance = dict.fromkeys(first, 0)
        self._before: dict[File, File | None] = dict.fromkeys(first)
        # Those that hold the thing first: the way to them leads over such as hold it, too.
        for among in (held,) if held is every else (held, every):
            level, seen = [file for file in self.distance if file in among], set[str]()
            while level:
                level = list(self._next(level, readers, among, seen))

    def _next(
        self,
        level: Iterable[File],
        readers: Mapping[File, list[Statement]],
        among: Mapping[File, Held],
        seen: set[str],
    ) -> Iterable[File]:
        for file in level:
            for made in readers[file]:
                if made.digest in seen:
                    continue
                seen.add(made.digest)
                for new in made.outputs.items():
                    if new in among and new not in self._before:
                        self._before[new] = file
                        self.distance[new] = self.distance[file] + 1
                        yield new

    def why(self, file: File) -> list[str]:
        """Paths from the thing to a file."""
        way: list[str] = []
        at: File | None = file
        while at is not None:
            way.append(at[0])
            at = self._before.get(at)
        return way[::-1]
