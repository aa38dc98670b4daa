"""A job must not outlive the run that started it, or it would write into the next one's results."""

import ctypes
import os
import signal
import threading
import time

from atlas.owners import RUN, machine, parse, start_time

_PR_SET_PDEATHSIG = 1


def announce() -> str:
    """In the main process: put its identity into the environment that its jobs inherit.

    :returns: the identity of the run.
    """
    if known := os.environ.get(RUN):
        pid, start, node, _ = parse(known)
        # Started elsewhere, or here and still alive: an ancestor of ours.
        if node != machine() or start in ("0", start_time(pid)):
            return known
    batch_job = os.environ.get("SLURM_JOB_ID", "")
    identity = f"{os.getpid()}.{start_time(os.getpid()) or 0}.{machine()}.{batch_job}"
    os.environ[RUN] = identity
    return identity


def is_alive(identity: str) -> bool:
    """Whether a run is known to be going on: it was started on this machine and its process lives."""
    try:
        pid, start, node, _ = parse(identity)
    except ValueError:  # a job that was started without a run
        return False
    return node == machine() and start == start_time(pid)


def end_orphans() -> None:
    """In what the shell started for a job: end where the shell is gone already.

    A shell that is ended before its job watches leaves the job behind, to a process that is older than
    the run: to Snakemake it has failed.
    """
    _end_with_parent()
    run, parent = _run_here(), start_time(os.getppid())
    if run and parent and int(parent) < int(run[1]):
        os.kill(os.getpid(), signal.SIGKILL)


def _run_here() -> tuple[int, str] | None:
    """Process and start of the run that started this one, on this machine and in no other batch job."""
    identity = os.environ.get(RUN)
    if identity is None:
        return None
    pid, start, node, batch_job = parse(identity)
    same_place = node == machine() and batch_job == os.environ.get("SLURM_JOB_ID", "")
    return None if not same_place or start == "0" else (pid, start)


def _end_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def watch() -> None:
    """In a job: end at once when the parent or the run that started it is gone.

    A job of a batch system is left to the batch system.
    """
    _end_with_parent()
    run = _run_here()
    if run is None:
        return
    pid, start = run

    def lives() -> bool:
        try:
            return start_time(pid) == start
        except OSError:  # too many files are open: it is not known
            return True

    def poll() -> None:
        while lives():
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=poll, name="deathwatch", daemon=True).start()
