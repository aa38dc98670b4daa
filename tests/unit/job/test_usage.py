from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
from snakemake import benchmark

from atlas import owners
from atlas.files import WORKFLOW_FOLDER
from atlas.job import usage

WORK = """
import json, os, time
from atlas.files import WORKFLOW_FOLDER
from atlas.job import usage
before, start = usage.used(), time.process_time()
held = bytearray(os.urandom(1)) * (64 << 20)
while time.process_time() < start + 0.2:
    sum(range(1000))
print(json.dumps([before, usage.used()]))
"""


def test_what_a_process_used():
    """In a process of its own: what this one used at most was used by tests before."""
    environment = os.environ | {"PYTHONPATH": str(WORKFLOW_FOLDER / "scripts")}
    before, after = json.loads(
        subprocess.check_output([sys.executable, "-c", WORK], env=environment)
    )
    assert after["max_rss"] >= before["max_rss"] + 60
    assert after["max_vms"] >= after["max_rss"] >= after["max_pss"] >= after["max_uss"] > 64
    assert 0.2 <= after["cpu_time"] - before["cpu_time"] < 30
    assert all(hasattr(benchmark.BenchmarkRecord(), name) for name in after)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Benchmarks as Snakemake takes them, of nothing but the time."""

    @contextlib.contextmanager
    def benchmarked(pid=None, record=None, interval=None):
        yield record
        record.running_time = 2.0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "benchmarked", benchmarked)
    usage.reach_benchmarks()
    usage.reach_benchmarks()


def test_benchmarks_hold_what_a_forked_job_says(measured, monkeypatch):
    run = os.getppid()
    monkeypatch.setenv(owners.RUN, f"{run}.1.host.")  # as if Snakemake had started this one
    file = usage.file_of_this_shell()
    assert file.stem.endswith(f".{os.getpid()}")
    monkeypatch.setenv(usage.VARIABLE, str(file))
    with benchmark.benchmarked(os.getpid(), benchmark.BenchmarkRecord()) as record:
        usage.tell()
    said = dict(zip(record.get_header(), record.get_benchmarks(), strict=True))
    assert (said["s"], said["max_rss"]) == (2.0, record.max_rss)
    assert said["max_rss"] > 10
    assert said["mean_load"] == pytest.approx(50 * said["cpu_time"])
    assert not file.exists()


def test_other_benchmarks_are_left_alone(measured, monkeypatch):
    monkeypatch.setenv(owners.RUN, "1.1.host.")
    assert usage.file_of_this_shell().stem.endswith(
        f".{os.getppid()}"
    )  # a shell between it and Snakemake
    monkeypatch.delenv(usage.VARIABLE, raising=False)
    usage.tell()
    with benchmark.benchmarked(os.getpid(), benchmark.BenchmarkRecord()) as record:
        pass
    assert json.dumps(record.get_benchmarks()[2:]) == json.dumps(["NA"] * 8)
