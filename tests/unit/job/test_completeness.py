from __future__ import annotations

import os

import pytest

from atlas.job.completeness import is_complete, missing
from unit.job.runs import A, B, Run, flip


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    run.chain()
    return run


def complete(run, name=A, mtime=None):
    return is_complete(name, mtime, run.root)


def noted(run, name=A):
    """The time stamp that Snakemake notes when a job ends."""
    return (run / name).stat().st_mtime


def test_as_the_job_left_it(run):
    assert complete(run, mtime=noted(run))
    assert complete(run)  # where Snakemake noted nothing, it is read


def test_here(run, monkeypatch):
    monkeypatch.chdir(run.root)
    assert is_complete(A, None)
    run.pointer(A).unlink()
    assert not is_complete(A, None)


def test_without_a_pointer(run):
    time = noted(run)
    run.pointer(A).unlink()
    assert not complete(run, mtime=time)
    assert not complete(run)
    assert complete(run, B)


def test_with_a_pointer_to_nothing(run):
    time = noted(run)
    run.pointer(A).resolve().unlink()
    assert not complete(run, mtime=time)


def test_altered_with_a_new_time_stamp(run):
    time = noted(run)
    flip(run / A)
    os.utime(run / A, (time + 5, time + 5))
    assert not complete(run, mtime=time)
    assert not complete(run)


def test_altered_with_an_older_time_stamp(run):
    """As where a file is put back from a copy of another run."""
    time = noted(run)
    flip(run / A)
    os.utime(run / A, (time - 5, time - 5))
    assert not complete(run, mtime=time)


def test_altered_with_the_time_stamp_kept_is_left_to_the_job_that_reads_it(run):
    before = (run / A).stat()
    flip(run / A)
    os.utime(run / A, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert complete(run, mtime=before.st_mtime)
    assert not complete(run)


def test_touched_only(run):
    time = noted(run)
    os.utime(run / A, (time + 5, time + 5))
    assert complete(run, mtime=time)


def test_a_touched_file_with_a_broken_statement(run):
    time = noted(run)
    flip(run.pointer(A).resolve(), 77)
    os.utime(run / A, (time + 5, time + 5))
    assert not complete(run, mtime=time)


def test_a_touched_file_with_the_statement_of_another(run):
    time = noted(run)
    run.pointer(A).unlink()
    run.pointer(A).symlink_to(run.pointer(B).resolve())
    os.utime(run / A, (time + 5, time + 5))
    assert not complete(run, mtime=time)


def test_targets_that_are_not_there(run):
    (run.root / "folder").mkdir()
    assert missing([run.root / A, run.root / "none"]) == [str(run.root / "none")]
    assert missing([run.root / "folder"]) == [str(run.root / "folder")]
