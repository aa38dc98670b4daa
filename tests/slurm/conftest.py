"""A cluster for the session, and what a local run makes of the same configuration."""

from pathlib import Path

import pytest
from filelock import FileLock

import cluster
from cluster import TARGETS, configuration
from micro import micro, snakemake


@pytest.fixture(scope="session")
def slurm():
    """Daemons of SLURM on this machine; removed afterwards. Sessions side by side take turns."""
    with FileLock(cluster.STATE.with_suffix(".lock")):
        done = cluster.script("start_slurm.sh")
        if done.returncode == cluster.CANNOT:
            pytest.skip(f"no SLURM here: {done.stdout.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stdout
        yield
        assert cluster.script("stop_slurm.sh").returncode == 0


@pytest.fixture(scope="session")
def local(tmp_path_factory) -> Path:
    """A finished run without a cluster."""
    folder = micro(tmp_path_factory.mktemp("local") / "checkout", configuration())
    snakemake(folder, *TARGETS, "--cores", "2")
    return folder
