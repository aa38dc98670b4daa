"""Who ran what, when, and how it ended: one file per run and one per attempt.

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
from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import passing, read_object, write_bytes, write_whole
from atlas.job import deathwatch
from atlas.job.statements import PROVENANCE

ATTEMPTS = Path(PROVENANCE, "attempts")
RUN_FILE = "run.json"
NEEDED = {"run": str, "rule": str, "wildcards": dict, "attempt": int, "host": str, "process": str,
          "started": str, "outcome": str}  # fmt: skip
OPTIONAL = {"ended": str, "user": str, "error": str, "statement": str}
# Of what a run notes when it begins, what its line in the history has.
TOLD = ("run", "command", "user", "host", "started", "configfiles")


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


def open_run(
    identity: str, configuration: dict[str, Any], configfiles: list[str],
    read: dict[str, Any] | None = None, root: Path = Path(),
) -> None:  # fmt: skip
    """Note what somebody typed, before the first job of a run.

    :param read: the Snakefile and the working folder, from the root; the folder of the workflow; and
        what was touched.
    """
    file = root / run_file(identity)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, _line({
        "run": identity, "command": ["snakemake", *sys.argv[1:]], "user": user(),
        "host": owners.machine(), "started": now(), "configfiles": configfiles,
        "configuration": configuration, **(read or {}),
    }))  # fmt: skip


class Attempt:
    """One try at one job."""

    def __init__(
        self, identity: str, rule: str, wildcards: dict[str, str], outputs: list[str],
        root: Path = Path(),
    ) -> None:  # fmt: skip
        folder = root / ATTEMPTS / slug(identity)
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


def read_all(root: Path = Path()) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the history says of the runs and of the attempts below a root, each oldest first.

    An attempt that was never closed is ``killed`` where its process is gone, or was on another machine
    and its run is over; else ``running``. What cannot be read is ``unreadable``.
    """
    runs, attempts = [], []
    for folder in sorted((root / ATTEMPTS).glob("*")):
        place = folder.relative_to(root).as_posix()
        more: dict[str, Any] = {}
        if run := read_record(folder / RUN_FILE):
            more = {"run_sha256": sha256_file(folder / RUN_FILE)}
            known = {key: run[key] for key in TOLD if key in run}
            runs.append({**known, **more, "file": f"{place}/{RUN_FILE}"})
            more["command"] = run.get("command")
        for file in sorted(folder.glob("[!.]*.json")):
            if file.name != RUN_FILE:
                attempts.append({**_attempt(file), **more, "file": f"{place}/{file.name}"})
    for entries in (runs, attempts):
        entries.sort(key=lambda e: (str(e.get("started")), e["file"]))
    return runs, attempts


def read_attempts(root: Path = Path()) -> list[dict[str, Any]]:
    """All attempts below a root, oldest first, with the command of their runs."""
    return read_all(root)[1]


def _attempt(file: Path) -> dict[str, Any]:
    entry = read_record(file)
    if not _is_attempt(entry):
        return {"outcome": "unreadable", "started": ""}
    killed = entry["outcome"] == "running" and not _is_running(entry)
    return {**entry, "outcome": "killed"} if killed else entry


def read_runs(root: Path = Path()) -> list[dict[str, Any]]:
    """What was typed for each run below a root that can be read, the newest last."""
    runs = filter(None, map(read_record, (root / ATTEMPTS).glob(f"*/{RUN_FILE}")))
    return sorted(runs, key=lambda run: str(run.get("started")))


def read_record(file: Path) -> dict[str, Any]:
    """What the file of a run or an attempt says; nothing where it cannot be read."""
    try:
        return read_object(file)
    except (OSError, AtlasError):
        return {}


def _is_attempt(entry: dict[str, Any]) -> bool:
    """Whether all is there that every attempt says, each of its kind."""
    said = {key: entry.get(key, kind()) for key, kind in OPTIONAL.items()}
    return (
        all(isinstance(entry.get(key), kind) for key, kind in NEEDED.items())
        and all(isinstance(said[key], kind) for key, kind in OPTIONAL.items())
        and all(isinstance(value, str) for value in entry["wildcards"].values())
    )


def _is_running(entry: dict[str, Any]) -> bool:
    if entry["host"] == owners.machine():
        pid, _, start = str(entry["process"]).partition(".")
        return pid.isdigit() and owners.start_time(int(pid)) == start
    # A job on another machine is taken to live while its run does, where that can be seen.
    return deathwatch.is_alive(str(entry["run"]))
