"""Artefacts by what is in their statements: an SQL expression over them, as after WHERE."""

import contextlib
import fnmatch
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from atlas.errors import AtlasError
from atlas.job.records import Records
from atlas.job.withdrawn.things import package, satisfies
from atlas.lineage.forward.index import connect

# Column -> what it is, in SQL over the index (s: a statement, o: one of its outputs).
COLUMNS = {
    "file": "o.key", "sha256": "o.value",
    "stage": "substr(o.key, 9, instr(substr(o.key, 9), '/') - 1)",
    "rule": "s.rule", "function": "s.function", "started": "s.started", "finished": "s.finished",
    "host": "s.body ->> '$.execution.host'", "device": "s.body ->> '$.execution.device'",
    "python": "s.body ->> '$.execution.python'", "attempt": "s.body ->> '$.execution.attempt'",
    "run": "s.run", "statement": "s.digest",
    "model": "s.body ->> '$.wildcards.model'", "dataset": "s.body ->> '$.wildcards.dataset'",
    "pool": "s.body ->> '$.wildcards.pool'", "base": "s.body ->> '$.wildcards.base'",
    "seed": "s.body ->> '$.params.seed'", "objective": "s.body ->> '$.params.recipe.objective'",
    "params": "s.body -> '$.params'", "inputs": "s.body -> '$.inputs'",
    "packages": "'packages ' || s.packages", "modules": "'modules ' || s.modules",
}  # fmt: skip
VIEW = f"""
CREATE TEMP VIEW artefact AS SELECT {", ".join(f"{sql} AS {name}" for name, sql in COLUMNS.items())}
FROM statement AS s, json_each(s.body, '$.outputs') AS o
"""
SECONDS = 120.0  # after which a question is given up
STEPS = 100_000  # of SQLite's machine between two looks at the clock, at which an interrupt is seen, too
ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)


@dataclass(frozen=True)
class Found:
    """An artefact, or an earlier version of one."""

    file: str
    sha256: str
    rule: str
    finished: str
    statement: str
    newest: bool


def find(records: Records, expression: str, *, earlier: bool = False) -> list[Found]:
    """Artefacts of which an expression is true, the newest first.

    :param expression: SQL of SQLite, over :data:`COLUMNS`. ``params ->> '$.recipe.epochs'`` is a parameter;
        ``packages MATCH 'trl<1.16'`` a package that was there, ``modules MATCH 'atlas.training.*'`` a module
        behind the job, ``inputs MATCH 'results/models/*'`` a path, or a SHA-256, that it read.
    :param earlier: versions that were replaced since, too.
    :raises AtlasError: for what is no such expression.
    """
    with contextlib.closing(connect(records)) as index:
        index.execute(VIEW)
        match = _Match({d: json.loads(text) for d, text in index.execute("SELECT * FROM part")})
        index.create_function("match", 2, match, deterministic=True)
        index.set_authorizer(_only_reads)
        end = time.monotonic() + SECONDS
        index.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        query = ("SELECT file, sha256, rule, finished, statement FROM artefact "
                 f"WHERE ({expression}\n) ORDER BY finished DESC, file")  # fmt: skip
        try:
            rows = index.execute(query).fetchall()
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            names, why = ", ".join(COLUMNS), match.wrong or str(error)
            raise AtlasError(
                f"{expression}: cannot be asked ({why}); give SQL as after WHERE, of the columns {names}."
            ) from None
    found = [Found(*row, newest=records.pointed(row[0]) == row[4]) for row in rows]
    return [one for one in found if one.newest or earlier]


def _only_reads(action: int, *what: Any) -> int:
    return sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY


class _Match:
    """``value MATCH pattern``: a package, a module, an input, or a text as a glob.

    :param wrong: what is wrong with a pattern, which SQLite does not say.
    """

    def __init__(self, parts: dict[str, dict[str, str]]) -> None:
        self.wrong = ""
        self._parts = parts
        self._known: dict[tuple[str, str], bool] = {}
        self._asks: dict[str, Callable[[str, dict[str, str]], bool]] = {
            "packages": self._is_there, "modules": _is_behind,
        }  # fmt: skip

    def __call__(self, pattern: Any, value: Any) -> bool:
        text, wanted = str(value), str(pattern)
        kind, _, digest = text.partition(" ")
        if kind in self._asks and digest in self._parts:
            if (wanted, text) not in self._known:
                self._known[wanted, text] = self._asks[kind](wanted, self._parts[digest])
            return self._known[wanted, text]
        if text.startswith("{"):
            read = json.loads(text)
            return any(
                fnmatch.fnmatchcase(one, wanted) for pair in read.items() for one in map(str, pair)
            )
        return value is not None and fnmatch.fnmatchcase(text, wanted)

    def _is_there(self, wanted: str, packages: dict[str, str]) -> bool:
        thing = package(wanted)
        if thing is None:
            self.wrong = f"{wanted!r} is no package at some versions, such as trl<1.16"
            raise ValueError(self.wrong)
        return any(str(canonicalize_name(name)) == thing.name and satisfies(version, thing.versions)
                   for name, version in packages.items())  # fmt: skip


def _is_behind(wanted: str, modules: dict[str, str]) -> bool:
    return any(fnmatch.fnmatchcase(name, wanted) for name in modules)
