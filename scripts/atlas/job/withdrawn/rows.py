"""Which rows of a file are in what a job made of it: of the raw rows a split, of a split a model has some."""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from atlas.datasets.row_ids import origins
from atlas.errors import AtlasError
from atlas.files import parse_jsonl, read_bounded
from atlas.job.statements import RESULTS, Statement

SPLIT = "atlas.datasets.splits:make_split"
DRAW = "atlas.datasets.training_rows:prepare_rows"
DATASETS, RAW = f"{RESULTS}/datasets/", f"{RESULTS}/sources/datasets/"
# Path and SHA-256 of a file as a job read it -> where it is, or None where it is not there any more.
Find = Callable[[str, str], Path | None]
Ids = frozenset[int] | None  # None: any


def raw_file(dataset: str) -> str:
    """Where the raw rows of a dataset are."""
    return f"{RAW}{dataset}.jsonl"


def row_digests(place: Path) -> list[str]:
    """SHA-256 of each line of a file of rows."""
    return list(_row_digests(str(place), place.stat().st_mtime_ns))


@cache
def _row_digests(place: str, changed: int) -> tuple[str, ...]:
    lines = read_bounded(Path(place)).split(b"\n")
    return tuple(hashlib.sha256(line).hexdigest() for line in lines if line.strip())


def ids_in(place: Path, wanted: Iterable[str]) -> frozenset[int]:
    """Ids of rows of which the digests are known."""
    known = set(wanted)
    return frozenset(i for i, digest in enumerate(row_digests(place)) if digest in known)


def has(made: Statement, path: str, ids: Ids, find: Find) -> bool:
    """Whether what a job made of a file of rows has some of its rows in it.

    A split has a range of the raw rows, a model has drawn some of a split.

    :param path: the input. :param ids: of raw rows. What is not known any more counts as had.
    """
    if ids is None or made.code["function"] not in (SPLIT, DRAW):
        return True
    dataset = path.removeprefix(RAW).removeprefix(DATASETS).removesuffix(".jsonl").partition("/")[0]
    try:
        (rows,) = (path for path, name in made.output_names.items() if name == "rows")
        place = find(rows, made.outputs[rows])
        if place is None:
            return True
        found = _rows_of(str(place), made.outputs[rows])
    except (AtlasError, LookupError, TypeError, ValueError, OSError):
        return True  # it is not as jobs write it
    wanted = {(dataset, number) for number in ids} | {("", number) for number in ids}
    return not wanted.isdisjoint(found)


@cache
def _rows_of(place: str, digest: str) -> frozenset[tuple[str, int]]:
    """Dataset (none in a split, which is of one) and id of the raw rows that a file has."""
    lines = read_bounded(Path(place)).decode().split("\n")
    found: set[tuple[str, int]] = set()
    for line in parse_jsonl(lines, place):
        of = origins(line) or [("", line["row"])]
        found.update((name.partition("/")[0], int(number)) for name, number in of)
    return frozenset(found)


def dumped(row: dict[str, Any]) -> str:
    """A row as a pattern is tried on it."""
    return json.dumps(row, sort_keys=True, ensure_ascii=False)
