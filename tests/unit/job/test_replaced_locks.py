from __future__ import annotations

from types import SimpleNamespace

import pytest
from snakemake.persistence.file import FilePersistence

from atlas.job.replaced import leave_locks_of_others


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs that hold locks in one folder."""
    for name in ("_delete_locks", "cleanup_locks"):
        monkeypatch.setattr(FilePersistence, name, getattr(FilePersistence, name))
    leave_locks_of_others()
    leave_locks_of_others()
    made = []
    for name in ("a", "b"):
        run = SimpleNamespace(_lockdir=str(tmp_path / "locks"), _lockfile={})
        (tmp_path / "locks").mkdir(exist_ok=True)
        for kind in ("input", "output"):
            FilePersistence._write_locks(run, kind, [name])
        made.append(run)
    return tmp_path / "locks", made


def test_a_run_that_ends_leaves_the_locks_of_others(runs):
    folder, (first, second) = runs
    FilePersistence._delete_locks(first)
    assert sorted(file.name for file in folder.iterdir()) == ["1.input.lock", "1.output.lock"]
    FilePersistence._delete_locks(second)
    assert list(folder.iterdir()) == []  # another run may be about to write its own


def test_a_run_without_jobs_leaves_them_too(runs):
    folder, _ = runs
    FilePersistence._delete_locks(SimpleNamespace(_lockdir=str(folder), _lockfile={}))
    assert len(list(folder.iterdir())) == 4


def test_unlock_removes_all(runs):
    folder, _ = runs
    FilePersistence.cleanup_locks(SimpleNamespace(_lockdir=str(folder), _lockfile={}))
    assert not folder.exists()
