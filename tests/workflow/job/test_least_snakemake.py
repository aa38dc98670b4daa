"""The least Snakemake that will do; the newest that was tried is what all other tests run."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from importlib.metadata import version

import pytest

from micro import ROOT, digests, environment, lineage, micro

pytestmark = [pytest.mark.workflow, pytest.mark.least_snakemake]

MAIN = "results/tables/main.csv"
WANTED = re.search(r'^min_version\("([\d.]+)"\)$', (ROOT / "Snakefile").read_text(), re.MULTILINE)
# What it imports that Snakemake does not any more.
ALSO = ("appdirs==1.4.4",)


@pytest.fixture(scope="module")
def least(tmp_path_factory) -> str:
    """A Python whose Snakemake is the least, and all else what is installed."""
    folder = tmp_path_factory.mktemp("least")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (place,) = folder.glob("lib/python*/site-packages")
    (place / "installed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place)]
    subprocess.run([*pip, f"snakemake=={WANTED[1]}.0", *ALSO], check=True)
    return str(folder / "bin/python")


def test_the_micro_configuration(least, finished, tmp_path):
    def run(*arguments):
        line = [least, "-m", "snakemake", *arguments, "--configfile", "micro.yaml"]
        done = subprocess.run(line, cwd=folder, env=environment(), text=True, stderr=subprocess.STDOUT,
                              stdout=subprocess.PIPE, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    folder = micro(tmp_path / "checkout")
    assert run("--version").strip() == f"{WANTED[1]}.0" != version("snakemake")
    run(MAIN, "--cores", "1")
    assert digests(folder) == digests(finished)
    assert lineage(folder, "verify").returncode == 0
    assert "Nothing to be done" in run("-n", MAIN)
    (folder / "results/pools/micro/silhouette.csv").write_text("altered")
    assert "measure how micro clusters" in run("-n", MAIN)
