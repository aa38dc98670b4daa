"""Who ran what, when, and how it ended: one file per attempt, compiled into a history.

An attempt file is opened when a job starts and closed when it ends; one that was never closed is
the trace of a job that was killed. Nothing here is an input of a rule.
"""

import contextlib
import getpass
import hashlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from atlas import owners
from atlas.files import passing, write_bytes, write_whole
from atlas.job import deathwatch
from atlas.job.statements import PROVENANCE

ATTEMPTS = Path(PROVENANCE, "attempts")
HISTORY = Path(PROVENANCE, "history.jsonl")
RUN_FILE = "run.json"
NEEDED = {"run", "rule", "wildcards", "attempt", "host", "process", "started", "outcome"}


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat()


def slug(identity: str) -> str:
    """A short name of a run for files."""
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


def run_file(identity: str) -> Path:
    """Where it stands what somebody typed for a run."""
    return ATTEMPTS / slug(identity) / RUN_FILE


def user() -> str | None:
    """Name of the account, or None where the system does not know it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None


def _line(value: dict[str, Any]) -> bytes:
    known = {k: v for k, v in value.items() if v is not None}
    return (json.dumps(known, sort_keys=True, ensure_ascii=False) + "\n").encode()


def open_run(identity: str, configuration: dict[str, Any], configfiles: list[str]) -> None:
    """Note what somebody typed, before the first job of a run."""
    file = run_file(identity)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, _line({
        "run": identity, "command": ["snakemake", *sys.argv[1:]], "user": user(),
        "host": owners.machine(), "started": now(), "configfiles": configfiles,
        "configuration": configuration,
    }))  # fmt: skip


class Attempt:
    """One try at one job."""

    def __init__(
        self, identity: str, rule: str, wildcards: dict[str, str], outputs: list[str]
    ) -> None:
        folder = ATTEMPTS / slug(identity)
        folder.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(json.dumps([rule, sorted(wildcards.items())]).encode()).hexdigest()
        self.content: dict[str, Any] = {
            "run": identity, "rule": rule, "wildcards": wildcards, "attempt": 1,
            "outputs": outputs, "user": user(), "host": owners.machine(),
            "process": f"{os.getpid()}.{owners.start_time(os.getpid()) or 0}",
            "started": now(), "outcome": "running", "batch_job": os.environ.get("SLURM_JOB_ID"),
        }  # fmt: skip
        scratch = passing(folder / f"{rule}-{key[:12]}.json")
        while True:
            self.file = folder / f"{rule}-{key[:12]}-{self.content['attempt']}.json"
            try:
                write_bytes(scratch, _line(self.content))
                os.link(scratch, self.file)  # whole at once, and never over an earlier one
                break
            except FileExistsError:
                self.content["attempt"] += 1
            finally:
                scratch.unlink(missing_ok=True)

    @property
    def reference(self) -> str:
        """What a statement calls the attempt."""
        return f"{self.file.parent.name}/{self.file.name}"

    def close(self, outcome: str, **more: Any) -> None:
        """Note how it ended.

        :param outcome: finished or failed.
        :param more: error (a sentence), or what :meth:`Execution.run` returns.
        """
        self.content |= {"ended": now(), "outcome": outcome, **more}
        # A full disk must not hide the error that is being reported.
        with contextlib.suppress(OSError):
            write_whole(self.file, _line(self.content))


def read_attempts(root: Path = Path()) -> list[dict[str, Any]]:
    """All attempts below a root, oldest first, with the command of their runs.

    One that was never closed is ``killed`` where its process is gone, or was on another machine
    and its run is over; else ``running``. What cannot be read is ``unreadable``.
    """
    found = []
    for folder in sorted((root / ATTEMPTS).glob("*")):
        run = read_record(folder / RUN_FILE)
        more: dict[str, Any] = {}
        if run:
            digest = hashlib.sha256((folder / RUN_FILE).read_bytes()).hexdigest()
            more = {"command": run.get("command"), "run_sha256": digest}
        for file in sorted(folder.glob("*.json")):
            if file.name == RUN_FILE:
                continue
            entry = read_record(file)
            if not set(entry) >= NEEDED:
                entry = {**entry, "outcome": "unreadable", "started": ""}
            if entry["outcome"] == "running" and not _is_running(entry):
                entry["outcome"] = "killed"
            found.append({**entry, **more, "file": file.relative_to(root).as_posix()})
    return sorted(found, key=lambda e: (str(e["started"]), e["file"]))


def read_record(file: Path) -> dict[str, Any]:
    """What the file of a run or an attempt says; nothing where it cannot be read."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else {}
    except (OSError, ValueError):
        return {}


def _is_running(entry: dict[str, Any]) -> bool:
    if entry["host"] == owners.machine():
        pid, _, start = str(entry["process"]).partition(".")
        return pid.isdigit() and owners.start_time(int(pid)) == start
    # A job on another machine is taken to live while its run does, where that can be seen.
    return deathwatch.is_alive(str(entry["run"]))


def history_lines(root: Path = Path()) -> list[bytes]:
    """The lines of history.jsonl, as the attempt files have them."""
    return [_line(entry) for entry in read_attempts(root)]


def compile_history() -> None:
    """Write history.jsonl anew from all attempt files; call it while the folder is locked."""
    if not ATTEMPTS.is_dir():
        return
    # A full disk has been reported by the job that met it; the next run compiles it anew.
    with contextlib.suppress(OSError):
        write_whole(HISTORY, b"".join(history_lines()))
