"""The default main job, run once: by the README's first command, or here."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def main_run() -> Path:
    """The repository with a finished main job; a run that is up to date is taken as it is."""
    command = [sys.executable, "-m", "snakemake", "results/tables/main.csv", "--cores", "2",
               "--resources", "gpu=1"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return ROOT
