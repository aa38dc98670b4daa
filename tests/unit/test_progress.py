from __future__ import annotations

import os

import pytest

from atlas import progress
from atlas.progress import Progress, lasting, say


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests turn by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_from_time_to_time_and_at_the_end(capsys, clock):
    loop = Progress(4, "model", every_s=5)
    for seconds, note in ((2, "a"), (4, "b"), (2, "c"), (2, "d")):
        clock[0] += seconds
        loop.step(note)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "  model 2/4 | 6 s spent, 6 s left | b",
        "  model 4/4 | 10 s spent, 0 s left | d",
    ]


def test_a_short_loop_says_nothing(capsys, clock):
    loop = Progress(2, "model", every_s=5)
    for _ in range(2):
        clock[0] += 2
        loop.step()
    assert capsys.readouterr().err == ""


def test_steps_may_be_set(capsys, clock):
    loop = Progress(10, "MiB", every_s=5)
    clock[0] += 6
    loop.step(done=3)
    assert capsys.readouterr().err == "  MiB 3/10 | 6 s spent, 14 s left\n"


def test_it_goes_where_it_is_attached(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_terminal", None)
    monkeypatch.setattr(progress, "_label", "")
    read, write = os.pipe()
    progress.attach(write, "train m")
    os.close(write)
    say("loads it")
    progress._terminal.close()
    with os.fdopen(read) as stream:
        assert stream.read() == "  train m | loads it\n"
    assert capsys.readouterr().err == ""


def test_on_a_terminal_a_line_takes_the_place_of_the_line_of_the_run(monkeypatch):
    terminal, inside = os.openpty()
    monkeypatch.setattr(progress, "_terminal", None)
    monkeypatch.setattr(progress, "_label", "")
    progress.attach(inside, "train m")
    say("loads it")
    shown = b""
    while not shown.endswith(b"\n"):  # a read may return a part of what is there
        shown += os.read(terminal, 100)
    assert shown == b"\r\x1b[K  train m | loads it\r\n"
    progress._terminal.close()
    os.close(inside)
    os.close(terminal)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (6000, "1 h 40 min"),
     (7190, "2 h 0 min")],
)  # fmt: skip
def test_lengths_of_time(seconds, said):
    assert lasting(seconds) == said
