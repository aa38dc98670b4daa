"""kill -9 at any moment: the next run ends in the bytes of an unbroken one."""

import os
import random
import signal
import subprocess
import time

import pytest

from micro import (
    command,
    digests,
    environment,
    litter,
    micro,
    micro_config,
    snakemake,
    write_config,
)

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"


def start(folder, *args: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(*args), cwd=folder, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def alive(folder) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == str(folder):
                found.append(int(entry))
        except OSError:
            continue
    return found


def kill_and_settle(process: subprocess.Popen, folder) -> None:
    """kill -9 of Snakemake alone; its jobs must end by themselves."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while alive(folder):
        assert time.monotonic() < deadline, "a job outlived its run"
        time.sleep(0.1)


def test_killed_at_random_moments(finished, tmp_path):
    folder = micro(tmp_path / "checkout")
    moments = random.Random(20)
    for _ in range(7):
        process = start(folder, MAIN, "--cores", "2", "--resources", "gpu=1")
        time.sleep(moments.uniform(4, 16))
        if process.poll() is not None:
            break
        kill_and_settle(process, folder)
        before = digests(folder)
        time.sleep(0.5)
        assert digests(folder) == before, "something was written after the kill"
        snakemake(folder, "--unlock")
    snakemake(folder, MAIN, "--cores", "2", "--resources", "gpu=1")
    assert digests(folder) == digests(finished)
    assert litter(folder) == []


def test_a_long_training_resumes_and_ends_in_the_same_bytes(tmp_path):
    target = "results/models/micro-alpha-first/adapter_model.safetensors"
    config = micro_config()
    config["recipes"]["quick"] |= {"epochs": 60, "checkpoint_steps": 20}
    config["recipes"]["quick"]["lora"]["dropout"] = 0.1
    folder, other = micro(tmp_path / "killed", config), micro(tmp_path / "unbroken", config)
    snakemake(other, target, "--cores", "1")

    process = start(folder, target, "--cores", "1")
    scratch = folder / ".snakemake/atlas/scratch"
    deadline = time.monotonic() + 120
    while len(list(scratch.glob("*/checkpoint-*/complete"))) < 2:
        assert time.monotonic() < deadline, "no checkpoint was written"
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.05)
    kill_and_settle(process, folder)
    assert not (folder / target).exists()
    snakemake(folder, "--unlock")
    done = snakemake(folder, target, "--cores", "1")
    assert "resumes from checkpoint-" in done.stdout
    assert digests(folder) == digests(other)
    assert (
        len((folder / "results/models/micro-alpha-first/training.csv").read_text().splitlines())
        == 181
    )
    assert not list(scratch.glob("*")), "checkpoints are removed when the job is done"


def test_keep_incomplete_leaves_no_half_output(tmp_path):
    """A job that fails writes no output at all, so there is nothing to keep."""
    config = micro_config()
    config["recipes"]["quick"]["learning_rate"] = 1e20
    folder = micro(tmp_path / "checkout", config)
    target = "results/models/micro-alpha-first/adapter_model.safetensors"
    done = snakemake(folder, target, "--cores", "1", "--keep-incomplete", check=False)
    assert done.returncode != 0
    assert "the loss of step" in done.stdout or "NaN or Inf" in done.stdout
    assert not (folder / target).exists()
    assert litter(folder) == []
    write_config(folder, micro_config())
    snakemake(folder, target, "--cores", "1")
    assert (folder / target).exists()
