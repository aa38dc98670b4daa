from __future__ import annotations

import getpass
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atlas import owners
from atlas.job import attempts
from atlas.job.attempts import ATTEMPTS, Attempt, open_run, read_attempts, slug

SCRIPTS = Path(attempts.__file__).parents[2]
HOST = os.uname().nodename
RUN = f"1.1.{HOST}."  # no process starts at the first tick but that of the kernel
FOLDER = ATTEMPTS / hashlib.sha256(RUN.encode()).hexdigest()[:12]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def attempt(rule="train", run=RUN, **wildcards):
    return Attempt(run, rule, wildcards or {"model": "m"}, ["results/models/m/x"])


def outcomes():
    return [entry["outcome"] for entry in read_attempts()]


def test_an_attempt_that_goes_on():
    made = attempt()
    (entry,) = read_attempts()
    start = owners.start_time(os.getpid())
    assert entry.pop("started") <= attempts.now()
    assert entry == {
        "run": RUN, "rule": "train", "wildcards": {"model": "m"}, "attempt": 1,
        "outputs": ["results/models/m/x"], "user": getpass.getuser(), "host": HOST,
        "process": f"{os.getpid()}.{start}", "outcome": "running", "file": str(made.file),
    }  # fmt: skip
    assert made.file.parent == FOLDER
    assert made.reference == f"{FOLDER.name}/{made.file.name}"
    assert slug(RUN) == FOLDER.name
    assert list(FOLDER.iterdir()) == [made.file]  # no litter


def test_a_finished_attempt():
    made = attempt()
    made.close("finished", statement="abc", replaced=None)
    (entry,) = read_attempts()
    assert (entry["outcome"], entry["statement"]) == ("finished", "abc")
    assert entry["started"] <= entry["ended"]
    assert "replaced" not in entry
    assert list(FOLDER.iterdir()) == [made.file]


def test_a_failed_attempt():
    attempt().close("failed", error="the disk is full – make room")
    (entry,) = read_attempts()
    assert (entry["outcome"], entry["error"]) == ("failed", "the disk is full – make room")


def test_an_attempt_that_cannot_be_closed_hides_nothing(tmp_path):
    made = attempt()
    made.file.unlink()
    FOLDER.rmdir()
    made.close("failed", error="the disk is full")
    assert read_attempts() == []


def test_repeated_attempts_are_numbered():
    made = [attempt() for _ in range(3)]
    made[1].close("failed", error="x")
    assert [m.content["attempt"] for m in made] == [1, 2, 3]
    assert [m.file.name.rpartition("-")[2] for m in made] == ["1.json", "2.json", "3.json"]
    assert outcomes() == ["running", "failed", "running"]


def test_other_jobs_and_other_runs_have_numbers_of_their_own():
    made = [attempt(), attempt(model="n"), attempt("embed"), attempt(run=f"2.1.{HOST}."),
            attempt(a="1", b="2"), attempt(b="2", a="1")]  # fmt: skip
    assert [m.content["attempt"] for m in made] == [1, 1, 1, 1, 1, 2]
    assert len({m.file for m in made}) == 6


CHILD = (
    "import sys, time; from atlas.job.attempts import Attempt; "
    "Attempt(sys.argv[1], 'train', {'model': sys.argv[2]}, []); "
    "print('up', flush=True); time.sleep(60)"
)


def child(run=RUN, model="m"):
    """A process in the midst of an attempt."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, run, model], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
    )  # fmt: skip
    assert process.stdout.readline() == "up\n"
    return process


def test_a_killed_attempt():
    process = child()
    try:
        assert outcomes() == ["running"]
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    (entry,) = read_attempts()
    assert entry["outcome"] == "killed"
    assert "ended" not in entry
    assert json.loads(Path(entry["file"]).read_text())["outcome"] == "running"  # nobody wrote it
    again = attempt()
    again.close("finished")
    assert outcomes() == ["killed", "finished"]
    assert again.content["attempt"] == 2


def test_attempts_at_once_do_not_take_each_others_place():
    processes = [child() for _ in range(2)]
    try:
        assert sorted(entry["attempt"] for entry in read_attempts()) == [1, 2]
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


def rewrite(made, **changes):
    made.file.write_text(json.dumps({**json.loads(made.file.read_text()), **changes}))


def test_a_number_of_a_process_that_was_given_anew():
    """A process with the number, and another start, is not the one that tried."""
    rewrite(attempt(), process=f"{os.getpid()}.1")
    assert outcomes() == ["killed"]


def test_an_attempt_on_another_machine_lives_as_long_as_its_run():
    mine = f"{os.getpid()}.{owners.start_time(os.getpid())}.{HOST}.12"
    for run in (mine, RUN, "1.1.far-away.example.org."):
        rewrite(attempt(run=run), host="node-7.example.org")
    assert {e["run"]: e["outcome"] for e in read_attempts()} == {
        mine: "running", RUN: "killed", "1.1.far-away.example.org.": "killed",
    }  # fmt: skip


def test_an_attempt_on_another_machine_of_a_run_without_a_name():
    """atlas.job.entry.run calls it by the process number where DELTA_ATLAS_RUN is not set."""
    rewrite(attempt(run="4711"), host="node-7.example.org")
    assert outcomes() == ["killed"]


def test_the_command_of_the_run(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/snakemake", "main", "--cores", "2"])
    open_run(RUN, {"seed": 1}, ["config/config.yaml", "mine.yaml"])
    attempt().close("finished")
    attempt(run=f"2.1.{HOST}.").close("finished")
    file = FOLDER / "run.json"
    value = json.loads(file.read_text())
    assert value.pop("started") <= attempts.now()
    command = ["snakemake", "main", "--cores", "2"]
    assert value == {
        "run": RUN, "command": command, "user": getpass.getuser(), "host": HOST,
        "configfiles": ["config/config.yaml", "mine.yaml"], "configuration": {"seed": 1},
    }  # fmt: skip
    mine, other = read_attempts()
    assert mine["command"] == command
    assert mine["run_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert not {"command", "run_sha256"} & set(other)


def test_an_account_that_the_system_does_not_know_is_left_out(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert attempts.user() is None
    open_run(RUN, {}, [])
    attempt().close("finished")
    (entry,) = read_attempts()
    assert "user" not in entry
    assert "user" not in json.loads((FOLDER / "run.json").read_text())


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff\xfe", b'"text"', b"{}"])
def test_an_unreadable_file(data):
    attempt().close("finished")
    broken = attempt(model="n").file
    broken.write_bytes(data)
    found = read_attempts()
    assert [e["outcome"] for e in found] == ["unreadable", "finished"]
    assert found[0]["file"] == str(broken)


@pytest.mark.parametrize("missing", ["outcome", "started", "process", "host"])
def test_an_attempt_without_a_field_is_unreadable(missing):
    made = attempt()
    value = json.loads(made.file.read_text())
    del value[missing]
    made.file.write_text(json.dumps(value))
    assert outcomes() == ["unreadable"]


def test_an_unreadable_run_is_left_out():
    attempt().close("finished")
    (FOLDER / "run.json").write_text("{")
    (entry,) = read_attempts()
    assert not {"command", "run_sha256"} & set(entry)
