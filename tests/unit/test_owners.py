from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from atlas import owners
from atlas.files import STAGE_MARK, owner_of, passing, staged, unfinished, write_whole
from atlas.owners import is_alive, is_over, machine, owner, start_time


@pytest.fixture(autouse=True)
def no_run(monkeypatch):
    monkeypatch.delenv(owners.RUN, raising=False)


@pytest.fixture
def other():
    """A process, and the identity of a run that it is."""
    process = subprocess.Popen(["sleep", "60"])
    yield process, f"{process.pid}.{start_time(process.pid)}.{machine()}."
    process.kill()
    process.wait()


def test_an_owner_lives_until_its_process_is_gone(other):
    process, identity = other
    name = owner(identity)
    assert (is_alive(name), is_over(name)) == (True, False)
    process.kill()
    process.wait()
    assert (is_alive(name), is_over(name)) == (False, True)


def test_a_number_that_was_given_anew_is_another_owner():
    mine = owner()
    assert mine.startswith(f"{os.getpid()}-{start_time(os.getpid())}-")
    pid, start, place = mine.split("-")
    assert is_over(f"{pid}-{int(start) - 1}-{place}")


@pytest.mark.parametrize("place", ["far-away.example.org", "a.b~4026532222"])
def test_nothing_is_known_of_another_machine(place):
    name = owner(f"1.1.{place}.77")
    assert (is_alive(name), is_over(name)) == (False, False)


@pytest.mark.parametrize("name", ["", "x", "12-34", "12-34-abc", "12-34-abcdef012", "scratch-x"])
def test_what_names_no_owner_is_nobodys_to_take(name):
    assert (is_alive(name), is_over(name)) == (False, False)


def test_nobody_is_proven_gone_where_processes_cannot_be_seen(monkeypatch, other):
    process, identity = other
    process.kill()
    process.wait()
    name = owner(identity)
    monkeypatch.setattr(owners, "start_time", lambda pid: None)
    assert not is_over(name)


def test_a_job_works_for_its_run(monkeypatch, other):
    _, identity = other
    monkeypatch.setenv(owners.RUN, identity)
    assert owner() == owner(identity) != owner("none")


def test_a_container_is_a_machine_of_its_own(monkeypatch):
    assert machine().partition("~")[0] == os.uname().nodename
    before = machine()
    monkeypatch.setattr(owners, "FIRST_NAMESPACE", "7")
    assert machine() != before
    assert machine().startswith(f"{os.uname().nodename}~402")


@pytest.mark.parametrize("name", ["a.csv", "é[*]?.tar.gz", "x" * 240 + ".json", "数" * 80 + ".csv"])
def test_names_of_unfinished_files(tmp_path, name):
    path = tmp_path / name
    place = passing(path)
    assert place.parent == tmp_path
    assert place.name.startswith(".") and place.suffix == path.suffix
    assert passing(path) != place
    assert owner_of(place.name).startswith(owner())
    assert is_alive(owner_of(place.name))
    place.write_bytes(b"")
    staged(path, owner()).write_bytes(b"")
    (tmp_path / f".other{STAGE_MARK}{owner()}.csv").write_bytes(b"")
    assert set(unfinished(path)) == {place, staged(path, owner())}
    path.write_bytes(b"")
    assert owner_of(name) is None


def test_who_writes_at_once_does_not_meet(tmp_path):
    write_whole(tmp_path / "a.json", b"{}")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_start_time():
    ticks = os.sysconf("SC_CLK_TCK")
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    process = subprocess.Popen(["sleep", "60"])
    try:
        assert int(start_time(process.pid)) / ticks == pytest.approx(uptime, abs=5)
    finally:
        process.kill()
    # Dead and not yet waited for is dead.
    deadline = time.monotonic() + 5
    while start_time(process.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert start_time(process.pid) is None
    process.wait()
    assert start_time(process.pid) is None
