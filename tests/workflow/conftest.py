"""One finished micro run serves all tests that only look at it."""

import shutil
from pathlib import Path

import pytest

from micro import micro, snakemake


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A finished run on one core, with what it said in output.txt beside it; tests must not change it."""
    folder = micro(tmp_path_factory.mktemp("finished") / "checkout")
    done = snakemake(folder, "results/tables/main.csv", "--cores", "1", "--resources", "gpu=1")
    (folder.parent / "output.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished run, with its time stamps, to change at will."""
    target = tmp_path / "copy"
    shutil.copytree(finished, target, symlinks=True)
    return target
