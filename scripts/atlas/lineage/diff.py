"""Which artefacts of two runs differ, and why: the nearest causes, not their consequences."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from atlas.files import read_csv
from atlas.job.records import CRATES, Records
from atlas.job.statements import RESULTS, Statement
from atlas.lineage.causes import Cause, Causes, Find, Group, group, own_causes
from atlas.lineage.file_digests import FileDigests

TABLES = f"{RESULTS}/tables/"


@dataclass(frozen=True)
class Cell:
    """A cell of a table, or a row of a dataset, that differs (rows count from 1)."""

    file: str
    row: int
    column: str | None
    before: str | None
    after: str | None


@dataclass
class Difference:
    """What differs between two runs, A and B.

    :param same: number of artefacts with the same bytes.
    :param rows: rows of the datasets and sources at the root of the differences.
    """

    same: int = 0
    differing: list[str] = field(default_factory=list)
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    causes: list[Group] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    rows: list[Cell] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        """Whether both runs have the same artefacts with the same bytes."""
        return not (self.differing or self.only_a or self.only_b)


def diff(a: Records, b: Records) -> Difference:
    """Compare two runs by the bytes of their artefacts.

    Crates are left out: they tell of times and people, and hold the same artefacts again.
    """
    digests = FileDigests()
    found_a, found_b = _digests(a, digests), _digests(b, digests)
    both = sorted(found_a.keys() & found_b.keys())
    result = Difference(
        differing=[name for name in both if found_a[name] != found_b[name]],
        only_a=sorted(found_a.keys() - found_b.keys()),
        only_b=sorted(found_b.keys() - found_a.keys()),
    )
    result.same = len(both) - len(result.differing)
    reached: list[tuple[Cause, str]] = []
    search = Causes(_finder(a), _finder(b))
    for name in result.differing:
        made_a, made_b = a.statement(name), b.statement(name)
        causes = [
            Cause("input", f"{name} (altered in {where})", attested, found, name)
            for made, found, where in ((made_a, found_a[name], "A"), (made_b, found_b[name], "B"))
            if (attested := made.outputs[name] if made else None) != found
        ]
        if made_a and made_b and not causes:
            causes = list(search.of(made_a, made_b))
        reached += [(cause, name) for cause in causes]
        if name.startswith(TABLES) and name.endswith(".csv"):
            result.cells += _cells(name, a.path(name), b.path(name))
    result.causes = group(reached)
    for name in _roots(result, a, b):
        result.rows += _rows(name, a.path(name), b.path(name))
    return result


def _digests(records: Records, digests: FileDigests) -> dict[str, str]:
    """SHA-256 of each artefact; what a crate gives by address has the attested one."""
    crate = records.is_crate
    names = set(records.artefacts()) | (set(records.attested()) if crate else set())
    digests.read(records.path(name) for name in names)
    found = {}
    for name in sorted(n for n in names if not n.startswith(f"{CRATES}/")):
        if digest := digests.of(records.path(name)):
            found[name] = digest
        elif made := records.statement(name):
            found[name] = made.outputs[name]
    return found


def _finder(records: Records) -> Find:
    def find(path: str, digest: str) -> Statement | None:
        made = records.statement(path)
        return made if made and made.outputs[path] == digest else None

    return find


def _roots(result: Difference, a: Records, b: Records) -> Iterator[str]:
    """Differing line files that a job with a cause of its own, or an outer input, made."""
    differing = set(result.differing)
    for name in result.differing:
        if not name.endswith((".jsonl", ".csv")) or name.startswith(TABLES):
            continue
        made_a, made_b = a.statement(name), b.statement(name)
        if made_a and made_b and not differing & set(made_b.inputs):
            outer = any(made_a.inputs.get(p) != d for p, d in made_b.inputs.items())
            if outer or own_causes(made_a, made_b):
                yield name


def _rows(name: str, a: Path, b: Path) -> Iterator[Cell]:
    """Lines that differ, by number; a line that moved is two."""
    old, new = (p.read_text(encoding="utf-8").split("\n") for p in (a, b))
    for number, (x, y) in enumerate(zip_longest(old, new), start=1):
        if x != y:
            yield Cell(name, number, None, x, y)


def _cells(name: str, a: Path, b: Path) -> Iterator[Cell]:
    rows = zip_longest(read_csv(a), read_csv(b), fillvalue={})
    for number, (x, y) in enumerate(rows, start=1):
        for column in dict.fromkeys([*x, *y]):
            if x.get(column) != y.get(column):
                yield Cell(name, number, column, x.get(column), y.get(column))
