"""A job must not outlive the run that started it, or it would write into the next one's results."""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path

VARIABLE = "DELTA_ATLAS_RUN"
_PR_SET_PDEATHSIG = 1


def start_time(pid: int) -> str | None:
    """Start of a process in clock ticks since boot, or None where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def announce() -> str:
    """In the main process: put its identity into the environment that its jobs inherit.

    :returns: the identity of the run.
    """
    if known := os.environ.get(VARIABLE):
        pid, start, node, _ = _parse(known)
        # Started elsewhere, or here and still alive: an ancestor of ours.
        if node != os.uname().nodename or start in ("0", start_time(pid)):
            return known
    batch_job = os.environ.get("SLURM_JOB_ID", "")
    identity = f"{os.getpid()}.{start_time(os.getpid()) or 0}.{os.uname().nodename}.{batch_job}"
    os.environ[VARIABLE] = identity
    return identity


def _parse(identity: str) -> tuple[int, str, str, str]:
    pid, start, rest = identity.split(".", 2)
    node, _, batch_job = rest.rpartition(".")
    return int(pid), start, node, batch_job


def is_alive(identity: str) -> bool:
    """Whether a run is known to be going on: it was started on this machine and its process lives."""
    try:
        pid, start, node, _ = _parse(identity)
    except ValueError:  # a job that was started without a run
        return False
    return node == os.uname().nodename and start == start_time(pid)


def watch() -> None:
    """In a job: end at once when the parent or the run that started it is gone.

    A job of a batch system is left to the batch system.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    identity = os.environ.get(VARIABLE)
    if identity is None:
        return
    pid, start, node, batch_job = _parse(identity)
    same_place = node == os.uname().nodename and batch_job == os.environ.get("SLURM_JOB_ID", "")
    if not same_place or start == "0":
        return

    def poll() -> None:
        while start_time(pid) == start:
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=poll, name="deathwatch", daemon=True).start()
