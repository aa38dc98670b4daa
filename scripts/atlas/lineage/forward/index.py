"""All statements of a folder at hand: each is read once, and its parts that others repeat are kept once.

What is kept under .snakemake/ can be removed at any time, is trusted by no check of bytes, and is left out
where it cannot be written.
"""

import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import read_bounded
from atlas.guarded_json import parse_json
from atlas.job.environment import WORK
from atlas.job.records import Records, open_records
from atlas.job.statements import STATEMENTS, Statement, parse

FORM = 1  # of the tables; another one is made anew
COLUMNS = ("digest", "rule", "function", "modules", "imported", "packages", "started", "finished",
           "run", "body")  # fmt: skip
BODY = ("wildcards", "params", "outputs", "inputs", "output_names", "input_names", "temporary",
        "execution")  # fmt: skip
TABLES = f"""
CREATE TABLE part (digest TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE statement ({", ".join(COLUMNS)}, PRIMARY KEY (digest)) WITHOUT ROWID;
PRAGMA user_version = {FORM};
"""
# Parts of a statement that hundreds share: where they begin and end in its bytes.
PACKAGES = (b'{"name":"', b']},"runDetails":')
OUTSIDE = (b'"outside":{', b"}")
BATCH = 2000  # statements that are read and written at once
Batch = tuple[dict[str, str], list[tuple[Any, ...]]]  # parts, and rows of the index


def refresh(root: Path) -> None:
    """Bring the index of a run's folder up to date, so that the next question finds it so.

    It is done in this process: a run has threads, beside which none should be forked.
    """
    kept = _kept(root)
    if kept.parents[1].is_dir():  # results may lie elsewhere than the run
        with contextlib.suppress(OSError, sqlite3.Error):
            kept.parent.mkdir(exist_ok=True)
            _brought(Records(root), str(kept), cores=1).close()


def connect(records: Records) -> sqlite3.Connection:
    """The index of a folder, brought up to date."""
    kept = _kept(records.root)
    if (
        records.is_crate or not kept.parents[1].is_dir()
    ):  # a crate, or results without the folder of a run
        return _brought(records, ":memory:")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        return _brought(records, str(kept))
    except (OSError, sqlite3.Error):
        return _brought(records, ":memory:")


def _kept(root: Path) -> Path:
    return root / WORK / f"statements-{FORM}.sqlite"


class AtHand(Records):
    """Records whose statements are all at hand, as their own digests have them.

    What was altered since is told of by no question but ``verify``.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.every = sorted(_statements(self), key=lambda made: (made.finished, made.digest))
        self._by_digest = {made.digest: made for made in self.every}
        self._by_file: dict[tuple[str, str], Statement] | None = None

    def statement(self, name: str) -> Statement | None:
        """The newest statement of an artefact, or None where it has none.

        :raises BrokenRecordError: where the statement is not whole, or not of this artefact.
        """
        made = self._by_digest.get(self.pointed(name) or "")
        return made if made and name in made.outputs else super().statement(name)

    def stored(self, digest: str) -> Statement | None:
        """The statement with a SHA-256, also one that was replaced since; None where there is none."""
        return self._by_digest.get(digest) or super().stored(digest)

    def maker(self, name: str, digest: str) -> Statement | None:
        """The newest statement of a file with these bytes, also one that was replaced since."""
        if self._by_file is None:
            self._by_file = {file: made for made in self.every for file in made.outputs.items()}
        return self._by_file.get((name, digest))

    def all_statements(self) -> Iterator[Statement]:
        """Every stored statement that is whole, those that were replaced since among them."""
        yield from self.every


def open_at_hand(place: Path) -> AtHand:
    """Records of a folder, with all statements.

    :raises AtlasError: where there are none.
    """
    return AtHand(open_records(place).root)


def _statements(records: Records) -> list[Statement]:
    """Every stored statement that is whole, those that were replaced since among them."""
    with contextlib.closing(connect(records)) as index:
        index.execute("BEGIN")  # both as they are now: a run that ends may be adding to them
        parts = {digest: json.loads(text) for digest, text in index.execute("SELECT * FROM part")}
        rows = index.execute(f"SELECT {', '.join(COLUMNS)} FROM statement")
        return [_statement(dict(zip(COLUMNS, row, strict=True)), parts) for row in rows]


def _statement(row: dict[str, Any], parts: dict[str, dict[str, str]]) -> Statement:
    code = {"function": row["function"], "modules": parts[row["modules"]],
            "distributions": parts[row["imported"]]}  # fmt: skip
    return Statement(
        rule=row["rule"], code=code, packages=parts[row["packages"]], started=row["started"],
        finished=row["finished"], run=row["run"], digest=row["digest"], **json.loads(row["body"]),
    )  # fmt: skip


def _brought(records: Records, place: str, cores: int | None = None) -> sqlite3.Connection:
    index = sqlite3.connect(place, timeout=60)
    try:
        if index.execute("PRAGMA user_version").fetchone()[0] != FORM:
            index.executescript(f"BEGIN;{TABLES}COMMIT;")
        there = dict(_stored(records))
        known = {digest for (digest,) in index.execute("SELECT digest FROM statement")}
        with index:
            gone = ((digest,) for digest in known - there.keys())
            index.executemany("DELETE FROM statement WHERE digest = ?", gone)
        _add(index, [there[digest] for digest in sorted(there.keys() - known)], cores)
    except BaseException:
        index.close()
        raise
    return index


def _stored(records: Records) -> Iterator[tuple[str, str]]:
    """SHA-256 and path of each stored statement, by its name."""
    for folder in (records.root / STATEMENTS).glob("*"):
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    yield entry.name.removesuffix(".json"), entry.path


def _add(index: sqlite3.Connection, files: list[str], cores: int | None) -> None:
    slots = ", ".join("?" * len(COLUMNS))
    for parts, rows in _read(files, cores):
        with index:
            index.executemany("INSERT OR IGNORE INTO part VALUES (?, ?)", parts.items())
            index.executemany(f"INSERT OR IGNORE INTO statement VALUES ({slots})", rows)


def _read(files: list[str], cores: int | None) -> Iterator[Batch]:
    """Statements in batches; many are read on all cores (None: as many as there are)."""
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    if len(batches) < 2 or cores == 1:
        yield from map(_batch, batches)
        return
    with ProcessPoolExecutor(cores, get_context("fork")) as pool:
        yield from pool.map(_batch, batches)


def _batch(files: list[str]) -> Batch:
    reader = _Reader()
    rows = [row for file in files if (row := reader.row(file)) is not None]
    return reader.parts, rows


class _Reader:
    """Reads statements; what they share is parsed once.

    A shared part is taken out of the bytes, and a number that nobody can know is put in its place: where
    that number then stands where the part belongs, the rest says what the whole says.
    """

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}  # SHA-256 -> JSON
        self._named: dict[tuple[tuple[str, str], ...], str] = {}
        self._known: dict[bytes, Any] = {}
        self._dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
        self._mark = secrets.randbits(60) + (1 << 60)

    def row(self, file: str) -> tuple[Any, ...] | None:
        """What the index has of a statement; None where it is none, or not whole."""
        try:
            data = read_bounded(Path(file))
            digest = hashlib.sha256(data).hexdigest()
            if digest != os.path.basename(file).removesuffix(".json"):  # noqa: PTH119
                return None
            return self._row(self._parsed(data, digest))
        except (AtlasError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _parsed(self, data: bytes, digest: str) -> tuple[Statement, str]:
        """A statement, and apart from it the part that its packages are."""
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, IndexError):
            if short := self._short(data):
                value, packages = short
                definition = value["predicate"]["buildDefinition"]
                code = definition["internalParameters"]["code"]
                if definition["resolvedDependencies"][-1] == self._mark == code["outside"]:
                    del definition["resolvedDependencies"][-1], code["outside"]
                    return parse(value, digest), packages
        made = parse(parse_json(data), digest)
        return made, self._part(made.packages)

    def _short(self, data: bytes) -> tuple[Any, str] | None:
        end = data.rfind(PACKAGES[1])
        start = data.find(PACKAGES[0])
        outside = data.find(OUTSIDE[0])
        close = data.find(OUTSIDE[1], outside)
        if not 0 <= outside < close < start < end:
            return None
        listed, told = data[start:end], data[outside + len(OUTSIDE[0]) - 1 : close + 1]
        if listed not in self._known:
            entries = parse_json(b"[" + listed + b"]")
            texts = {
                d["name"]: d["uri"].rpartition("@")[2]
                for d in entries
                if d.keys() == {"name", "uri"}
            }
            if len(texts) != len(entries):
                return None
            self._known[listed] = self._part(texts)
        if told not in self._known:
            self._known[told] = parse_json(told)
        mark = str(self._mark).encode()
        head = data[: outside + len(OUTSIDE[0]) - 1]
        short = head + mark + data[close + 1 : start] + mark + data[end:]
        return parse_json(short), self._known[listed]

    def _row(self, read: tuple[Statement, str]) -> tuple[Any, ...]:
        made, packages = read
        values = {
            "digest": made.digest, "rule": made.rule, "function": made.code["function"],
            "modules": self._part(made.code["modules"]), "packages": packages,
            "imported": self._part(made.code["distributions"]), "started": made.started,
            "finished": made.finished, "run": made.run,
        }  # fmt: skip
        values["body"] = self._dump({key: getattr(made, key) for key in BODY})
        return tuple(values[key] for key in COLUMNS)

    def _part(self, value: dict[str, str]) -> str:
        key = tuple(value.items())
        if key not in self._named:
            text = self._dump(value)
            self._named[key] = hashlib.sha256(text.encode()).hexdigest()
            self.parts[self._named[key]] = text
        return self._named[key]
