from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atlas.job import deathwatch
from atlas.job.deathwatch import announce
from atlas.owners import RUN, parse, start_time

SCRIPTS = Path(deathwatch.__file__).parents[2]
JOB = "import sys, time; from atlas.job import deathwatch; deathwatch.watch(); print('up', flush=True); "
WAIT = "time.sleep(60)"


@pytest.fixture(autouse=True)
def no_run(monkeypatch):
    monkeypatch.delenv(RUN, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def job(code, run=None, **more):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), **more}
    if run is not None:
        environment[RUN] = run
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def run():
    """A process that stands for a run, and its identity."""
    process = subprocess.Popen(["sleep", "60"])
    start = start_time(process.pid)
    yield process, f"{process.pid}.{start}.{os.uname().nodename}."
    process.kill()
    process.wait()


def test_the_first_to_announce_is_the_run(monkeypatch):
    identity = announce()
    assert identity.startswith(f"{os.getpid()}.{start_time(os.getpid())}.")
    assert os.environ[RUN] == identity
    code = "from atlas.job import deathwatch; print(deathwatch.announce())"
    child = job(code, identity)
    assert child.communicate()[0].strip() == identity


def test_a_dead_run_is_forgotten(monkeypatch):
    monkeypatch.setenv(RUN, f"{os.getpid()}.1.{os.uname().nodename}.")
    assert announce() == f"{os.getpid()}.{start_time(os.getpid())}.{os.uname().nodename}."


def ends(process, within_s):
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        return None


def test_a_job_ends_with_its_run(run):
    process, identity = run
    child = job(JOB + WAIT, identity)
    assert child.stdout.readline() == "up\n"
    assert ends(child, 0.5) is None
    process.kill()
    assert ends(child, 10) == -9


def test_a_job_that_cannot_tell_whether_its_run_lives_goes_on(run):
    """As one that has all the files open that it may."""
    full = "import os, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); "
    assert job(f"{JOB}{full}time.sleep(1); os._exit(7)", run[1]).wait(20) == 7


def test_a_job_ends_with_its_parent():
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {JOB + WAIT!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\nprint(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = job(code)
    pid = int(parent.stdout.readline())
    assert start_time(pid) is not None
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while start_time(pid) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert start_time(pid) is None


@pytest.mark.parametrize("shell", ["goes on", "is ended"])
def test_a_job_whose_shell_was_ended_before_it_watched_ends(tmp_path, shell):
    """The run lives, and takes the job for failed."""
    file = tmp_path / "up"
    waits = (
        "import os, pathlib, sys, time; from atlas.job import deathwatch\n"
        f"while {shell == 'is ended'} and os.getppid() == int(sys.argv[1]): time.sleep(0.01)\n"
        f"deathwatch.end_orphans(); pathlib.Path({str(file)!r}).write_text('up'); time.sleep(60)\n"
    )
    code = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {waits!r}, str(os.getpid())])\n"
        "print(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = job(code, f"{os.getpid()}.{start_time(os.getpid())}.{os.uname().nodename}.")
    pid = int(parent.stdout.readline())
    if shell == "is ended":
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 60
    while start_time(pid) and not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert file.exists() == (shell == "goes on")
    parent.kill()
    parent.wait()


@pytest.mark.parametrize("elsewhere", ["node", "batch"])
def test_a_job_of_another_place_is_left_alone(elsewhere):
    node = "far-away.example.org" if elsewhere == "node" else os.uname().nodename
    more = {"SLURM_JOB_ID": "7"} if elsewhere == "batch" else {}
    # The process 1.1 does not exist here; it may on the node that started this job.
    child = job(JOB + "time.sleep(0.6)", f"1.1.{node}.", **more)
    assert ends(child, 20) == 0


def test_a_name_of_a_node_may_have_dots():
    assert parse("12.345.a.b-c.org.77") == (12, "345", "a.b-c.org", "77")
    assert parse("12.345.a.b-c.org.") == (12, "345", "a.b-c.org", "")
