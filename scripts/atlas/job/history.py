"""The history of a folder: who ran what and how it ended, in lines that are a chain.

A run has a line when it begins, an attempt when it is over, a signature when it is made. Each line has
the SHA-256 of the line before it, so that none can be taken out, moved, altered or repeated within;
whoever has the SHA-256 of the last line has that of all.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from atlas.files import write_whole
from atlas.guarded_json import parse_json
from atlas.job.attempts import ATTEMPTS, read_all
from atlas.job.records import HISTORY

PREVIOUS = "previous"  # key of a line: SHA-256 of the line before it
SIGNED = "signed"  # key of the line of a signature: file -> SHA-256

Entry = dict[str, Any]


def lines(root: Path = Path()) -> list[bytes]:
    """The lines of the history; none where there is no history."""
    file = root / HISTORY
    return file.read_bytes().splitlines(keepends=True) if file.is_file() else []


def head(of: list[bytes]) -> str:
    """SHA-256 of the last of some lines, which stands for all of them; empty for none."""
    return hashlib.sha256(of[-1]).hexdigest() if of else ""


def entry_of(line: bytes) -> Entry:
    """What a line says; nothing where it cannot be read."""
    try:
        found = parse_json(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def latest(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Of each run and each attempt what the history says last, by its file, without the link."""
    return {
        str(entry["file"]): {k: v for k, v in entry.items() if k != PREVIOUS}
        for entry in entries if "file" in entry
    }  # fmt: skip


def of_records(root: Path = Path()) -> Iterator[Entry]:
    """What the history has to say of runs, and of attempts that are over."""
    runs, attempts = read_all(root)
    yield from runs
    yield from (entry for entry in attempts if entry["outcome"] != "running")


def corrects(old: Entry, new: Entry) -> bool:
    """Whether an attempt that was taken for killed was on another machine, and has ended there."""
    same = all(old.get(key) == new.get(key) for key in ("run", "started", "process"))
    return same and old.get("outcome") == "killed" != new.get("outcome")


def unlisted(root: Path, known: dict[str, Entry]) -> list[Entry]:
    """Runs and attempts that the history does not tell of yet."""
    return [
        entry for entry in of_records(root)
        if entry["file"] not in known or corrects(known[entry["file"]], entry)
    ]  # fmt: skip


def compile_history(root: Path = Path()) -> None:
    """Add the runs that have begun and the attempts that are over; other runs may do so, too."""
    if not (root / ATTEMPTS).is_dir():
        return
    # A full disk has been reported by the job that met it; the next run adds it.
    with contextlib.suppress(OSError), _locked(root):
        stored = lines(root)
        entries = list(map(entry_of, stored))
        if not any(PREVIOUS in entry for entry in entries):
            stored, entries = [], []  # of a version that did not chain them
        _write(root, stored, unlisted(root, latest(entries)))


def append(root: Path, entry: Entry) -> None:
    """Add a line of another kind."""
    with _locked(root):
        _write(root, lines(root), [entry])


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Alone with the history. The lock is on the file itself, which whoever had it has replaced."""
    file = root / HISTORY
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if file.exists() and os.path.samestat(os.fstat(handle.fileno()), file.stat()):
                yield
                return


def _write(root: Path, stored: list[bytes], entries: Iterable[Entry]) -> None:
    told = list(stored)
    for entry in entries:
        text = json.dumps({**entry, PREVIOUS: head(told)}, sort_keys=True, ensure_ascii=False)
        told.append(f"{text}\n".encode())
    if len(told) > len(stored):
        write_whole(root / HISTORY, b"".join(told))
