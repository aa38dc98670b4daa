"""Whose a passing file is: its name has the process that made it, by which it can be seen to be over.

An owner is the main process of a run for all that its jobs make, else the process itself: its number,
its start in clock ticks since boot, and a digest of its machine.
"""

import hashlib
import os
import re
from pathlib import Path

RUN = "DELTA_ATLAS_RUN"  # in the environment of a job: the identity of its run
OWNER = re.compile(r"(\d+)-(\d+)-([0-9a-f]{8})(?![0-9a-f])")
FIRST_NAMESPACE = "4026531836"  # of processes, on every Linux that is in no container


def machine() -> str:
    """Where the numbers of processes that this one sees are theirs: a host, or a container on it."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        namespace = FIRST_NAMESPACE
    return os.uname().nodename + ("" if namespace == FIRST_NAMESPACE else f"~{namespace}")


def start_time(pid: int) -> str | None:
    """Start of a process in clock ticks since boot, or None where none is seen.

    :raises OSError: where it cannot be told, as where too many files are open.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def parse(identity: str) -> tuple[int, str, str, str]:
    """Process, start, machine and batch job of the identity of a run.

    :raises ValueError: where it is none.
    """
    pid, start, rest = identity.split(".", 2)
    place, _, batch_job = rest.rpartition(".")
    return int(pid), start, place, batch_job


def owner(identity: str | None = None) -> str:
    """The owner that a run is; None: the run that this process works for, else the process itself."""
    try:
        pid, start, place, _ = parse(identity or os.environ.get(RUN, ""))
    except ValueError:
        pid, start, place = os.getpid(), start_time(os.getpid()) or "0", machine()
    return f"{pid}-{start}-{_short(place)}"


def is_alive(name: str) -> bool:
    """Whether the owner with which a name begins is known to live: on this machine."""
    found = OWNER.match(name)
    return bool(found) and found[3] == _short(machine()) and found[2] == start_time(int(found[1]))


def is_over(name: str) -> bool:
    """Whether the owner with which a name begins is proven to be gone: it was on this machine."""
    found = OWNER.match(name)
    return (
        bool(found) and found[3] == _short(machine()) and start_time(os.getpid()) is not None
        and found[2] != start_time(int(found[1])) and not _is_hidden(int(found[1]))
    )  # fmt: skip


def _is_hidden(pid: int) -> bool:
    """Whether it is a process of another account, of which /proc need not tell (hidepid)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return start_time(pid) is None
    except (OSError, OverflowError):
        pass
    return False


def _short(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:8]
