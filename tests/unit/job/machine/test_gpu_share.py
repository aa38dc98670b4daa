from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.job.machine import gpu_share

SCRIPTS = Path(__file__).resolve().parents[4] / "scripts"
HOLDER = """
import sys, pathlib
from atlas.job.machine import gpu_share
print(gpu_share.take(["0", "1"], pathlib.Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Start a process that takes one of two GPUs and keeps it until its input ends."""
    started = []

    def start() -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, text=True,
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_gpus_that_may_be_used(tmp_path):
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "null"):
        (tmp_path / name).touch()
    assert gpu_share.visible_gpus(tmp_path, {}) == ["0", "2", "10"]
    assert gpu_share.visible_gpus(tmp_path, {"CUDA_VISIBLE_DEVICES": "3, GPU-ab"}) == [
        "3",
        "GPU-ab",
    ]
    assert gpu_share.visible_gpus(tmp_path, {"CUDA_VISIBLE_DEVICES": ""}) == []
    assert gpu_share.visible_gpus(tmp_path, {"CUDA_VISIBLE_DEVICES": "-1"}) == []


def test_jobs_at_once_have_different_gpus_and_a_third_waits(hold):
    first, second = hold(), hold()
    assert {first.stdout.readline(), second.stdout.readline()} == {"0\n", "1\n"}
    third = hold()
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(1)
    first.kill()
    first.wait()
    assert third.stdout.readline() in ("0\n", "1\n")


@pytest.mark.parametrize(
    ("gpus", "batch", "shown"),
    [("0,1", None, "0"), ("0,1", "7", "0,1"), ("1", None, "1"), ("", None, "")],
)
def test_one_of_several_is_taken_where_nobody_else_shares_them_out(
    tmp_path, monkeypatch, gpus, batch, shown
):
    monkeypatch.setattr(gpu_share, "_held", [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if batch:
        monkeypatch.setenv("SLURM_JOB_ID", batch)
    gpu_share.take_one_of_several(tmp_path)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == shown
