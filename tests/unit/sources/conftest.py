"""Bounds that a test reaches soon, and a folder of which nothing gets out."""

import pytest

from atlas.sources import archives
from unit.sources.hostile import MIB


@pytest.fixture
def small(monkeypatch):
    """Less may come out of a small file than usual, so that a test is quick."""
    monkeypatch.setattr(archives, "LEAST", 16 * MIB)


@pytest.fixture
def inside(tmp_path):
    """A folder deep inside; afterwards, nothing has been written beside it."""
    folder = tmp_path / "a/b/c"
    folder.mkdir(parents=True)
    yield folder
    assert not list(tmp_path.rglob("*escaped*"))
    assert [f for f in tmp_path.rglob("*") if not f.is_relative_to(tmp_path / "a")] == []
