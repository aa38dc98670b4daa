"""One finished micro run serves all tests that only look at it."""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from micro import micro, shared_folder, snakemake


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A finished run on one core; tests must not change it.

    It is made once; each process that runs tests has a copy of it, with its time stamps.
    """
    made = shared_folder(tmp_path_factory) / "finished"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            folder = micro(made.with_name("unfinished"))
            snakemake(folder, "results/tables/main.csv", "--cores", "1", "--resources", "gpu=1")
            folder.rename(made)
    folder = tmp_path_factory.mktemp("finished") / "checkout"
    shutil.copytree(made, folder, symlinks=True)
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished run, with its time stamps, to change at will."""
    target = tmp_path / "copy"
    shutil.copytree(finished, target, symlinks=True)
    return target
