"""Finished micro runs serve all tests that only look at them, or go on from a copy."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from micro import micro, shared_folder, small_config, snakemake, write_config

MAIN = "results/tables/main.csv"


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[..., Path]:
    """A run by its cores, the name of its folder and its configuration.

    It is made once; each process that runs tests has a copy of it, with its time stamps.
    """

    def run(cores: int, name: str, config: dict | None = None) -> Path:
        made = shared_folder(tmp_path_factory) / f"made-{name}"
        with FileLock(f"{made}.lock"):
            if not made.exists():
                folder = micro(made.with_name(name), config)
                done = snakemake(folder, MAIN, "--cores", str(cores), "--resources", "gpu=1")
                made.with_name(f"said-{name}").write_text(done.stdout)
                folder.rename(made)
        return shutil.copytree(made, tmp_path_factory.mktemp("run") / name, symlinks=True)

    return run


@pytest.fixture(scope="session")
def finished(once) -> Path:
    """A finished run on one core; tests must not change it."""
    return once(1, "checkout")


@pytest.fixture(scope="session")
def said(finished, tmp_path_factory) -> str:
    """What that run wrote to its terminal, which was a file."""
    return (shared_folder(tmp_path_factory) / "said-checkout").read_text()


@pytest.fixture(scope="session")
def twin(once) -> Path:
    """The same run on two cores, in a folder with a space and letters outside ASCII."""
    return once(2, "zwei Kerne é 数")


@pytest.fixture(scope="session")
def small(once) -> Path:
    """A finished run of fewer jobs, for what is the same whatever a pool has; tests must not change it."""
    return once(2, "small", small_config())


@pytest.fixture
def small_copy(small, tmp_path) -> Path:
    """A copy of it, to change at will."""
    return shutil.copytree(small, tmp_path / "copy", symlinks=True)


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of the finished run, with its time stamps, to change at will."""
    return shutil.copytree(finished, tmp_path / "copy", symlinks=True)


@pytest.fixture(scope="module")
def configured(finished, tmp_path_factory) -> Callable[[dict], Path]:
    """A copy of the finished run with another configuration, of which its models are a part."""

    def run(config: dict) -> Path:
        folder = tmp_path_factory.mktemp("configured") / "copy"
        shutil.copytree(finished, folder, symlinks=True)
        write_config(folder, config)
        return folder

    return run
