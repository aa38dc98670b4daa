"""kill -9 at any moment: the next run ends in the bytes of an unbroken one."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from atlas.job import forked
from micro import (
    command,
    digests,
    environment,
    litter,
    micro,
    small_config,
    snakemake,
    statements,
    write_config,
)

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"
EMBEDDINGS = "results/pools/micro/delta_activations/embeddings.npz"


def start(folder, *args: str, own_tree: bool = False) -> subprocess.Popen:
    """A run that goes on beside the test.

    :param own_tree: whether the processes that its jobs start from are its own, and import anew.
    """
    env = environment()
    if own_tree:
        del env[forked.VARIABLE]
    return subprocess.Popen(
        command(*args), cwd=folder, env=env, stdout=subprocess.DEVNULL,
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
    settle(folder)


def settle(folder) -> None:
    """Nothing of a run is left over once it has ended."""
    deadline = time.monotonic() + 10
    while alive(folder):
        assert time.monotonic() < deadline, "a job outlived its run"
        time.sleep(0.1)


@pytest.mark.parametrize("fork_jobs", [True, False])
def test_killed_at_random_moments(small, tmp_path, fork_jobs):
    """What imports by itself needs seconds for it: a run with a tree of its own, or without one."""
    folder = micro(tmp_path / "checkout", small_config() | {"fork_jobs": fork_jobs})
    moments = random.Random(20)
    # (own tree, how long a run lives at most)
    for own, most in [(True, 9), (False, 4)] * 2 if fork_jobs else [(True, 16)] * 2:
        process = start(folder, MAIN, "--cores", "2", "--resources", "gpu=1", own_tree=own)
        time.sleep(moments.uniform(1, most))
        if process.poll() is not None:
            break
        kill_and_settle(process, folder)
        before = digests(folder)
        time.sleep(0.5)
        assert digests(folder) == before, "something was written after the kill"
        snakemake(folder, "--unlock")
    snakemake(folder, MAIN, "--cores", "2", "--resources", "gpu=1")
    assert digests(folder) == digests(small)
    kept = kept_again(folder)
    assert attested(folder, kept) == attested(small, kept)
    assert litter(folder) == []


def attested(folder, kept=frozenset()) -> dict[str, dict]:
    """What statements say, but when and in which attempt.

    :param kept: artefacts whose jobs found models computed (:func:`kept_again`), and so ran none.
    """
    found = statements(folder)
    for name, statement in found.items():
        details = statement["predicate"]["runDetails"]
        del details["metadata"], details["delta_atlas_execution"]["attempt"]
        for key in ("kept", "attention") if name in kept else ():
            details["delta_atlas_execution"].pop(key, None)
    return found


def kept_again(folder) -> set[str]:
    """Artefacts of jobs that were made again: their run was killed once they had attested."""
    return {
        name for name, statement in statements(folder).items()
        if "kept" in statement["predicate"]["runDetails"]["delta_atlas_execution"]
    }  # fmt: skip


def tree(folder) -> list[int]:
    """The processes that jobs of a run start from, the root first."""
    found = []
    for pid in alive(folder):
        with contextlib.suppress(OSError):
            named = Path(f"/proc/{pid}/cmdline").read_text()
            if "forkserver.py" in named and called(pid).startswith(("with ", "python")):
                found.append(pid)
    return sorted(found)


@pytest.mark.parametrize("killed", [0, -1], ids=["root", "youngest"])
def test_what_jobs_start_from_is_killed(small, tmp_path, killed):
    """The run goes on, and nothing of it is left over."""
    folder = micro(tmp_path / "checkout", small_config())
    moments = random.Random(30 + killed)
    process = start(folder, EMBEDDINGS, "--cores", "2", "--resources", "gpu=1", own_tree=True)
    kills = 0
    while process.poll() is None:
        time.sleep(moments.uniform(1, 4))
        if (found := tree(folder)) and kills < (3 if killed else 1):
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[killed], signal.SIGKILL)
                kills += 1
    assert process.returncode == 0
    assert kills
    assert digests(folder).items() <= digests(small).items()
    assert (folder / EMBEDDINGS).exists()
    settle(folder)


@pytest.mark.parametrize("killed", ["job", "keeper"])
def test_killed_jobs_fail_and_are_made_again(small, tmp_path, killed):
    """And what watches over them: no other job is harmed."""
    folder = micro(tmp_path / "checkout", small_config())
    process = start(folder, EMBEDDINGS, "--cores", "2", "--resources", "gpu=1", "--keep-going")
    while not (found := [pid for pid in alive(folder) if called(pid) == "train_adapter"]):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    stat = Path(f"/proc/{found[0]}/stat").read_text()
    parent = int(stat.rpartition(")")[2].split()[1])
    assert called(parent) == "keeper"
    os.kill(found[0] if killed == "job" else parent, signal.SIGKILL)
    assert process.wait(240) == 1
    snakemake(folder, EMBEDDINGS, "--cores", "2", "--resources", "gpu=1")
    assert digests(folder).items() <= digests(small).items()
    assert litter(folder) == []


def called(pid: int) -> str:
    """The name of a process; none where it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def test_a_long_training_resumes_and_ends_in_the_same_bytes(small, tmp_path):
    target = "results/models/micro-alpha-first/adapter_model.safetensors"
    config = small_config()
    config["recipes"]["quick"] |= {"epochs": 60, "checkpoint_steps": 20}
    config["recipes"]["quick"]["lora"]["dropout"] = 0.1
    folder, other = (
        shutil.copytree(small, tmp_path / name, symlinks=True) for name in ("killed", "unbroken")
    )
    for place in (folder, other):
        write_config(place, config)
        shutil.rmtree(place / "results/models/micro-alpha-first")
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
    table = folder / "results/models/micro-alpha-first/training.csv"
    assert len(table.read_text().splitlines()) == 181
    assert not list(scratch.glob("*")), "checkpoints are removed when the job is done"


def test_keep_incomplete_leaves_no_half_output(small_copy):
    """A job that fails writes no output at all, so there is nothing to keep."""
    config = small_config()
    config["recipes"]["quick"]["learning_rate"] = 1e20
    write_config(small_copy, config)
    target = "results/models/micro-alpha-first/adapter_model.safetensors"
    shutil.rmtree((small_copy / target).parent)
    done = snakemake(small_copy, target, "--cores", "1", "--keep-incomplete", check=False)
    assert done.returncode != 0
    assert "the loss of step" in done.stdout or "NaN or Inf" in done.stdout
    assert not (small_copy / target).exists()
    assert litter(small_copy) == []
    write_config(small_copy, small_config())
    snakemake(small_copy, target, "--cores", "1")
    assert (small_copy / target).exists()
