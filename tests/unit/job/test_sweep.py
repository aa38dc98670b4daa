"""What a run removes before it begins: only what is proven to be of runs that are over."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from atlas import owners
from atlas.files import STAGE_MARK, passing_folder, staged
from atlas.job.digest_cache import DigestCache, of_run
from atlas.job.entry import sweep
from atlas.job.execution import OWNER_FILE, _stage
from atlas.owners import machine, owner, start_time
from atlas.sources import hub


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A run that is over, one that lives, and one on another machine: their identities."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(owners.RUN, raising=False)
    process = subprocess.Popen(["sleep", "60"])
    yield {"over": f"{os.getpid()}.1.{machine()}.",
           "living": f"{process.pid}.{start_time(process.pid)}.{machine()}.",
           "elsewhere": "1.1.far-away.example.org."}  # fmt: skip
    process.kill()
    process.wait()


def litter(identity: str, cache: Path, monkeypatch) -> set[Path]:
    """What a run makes that passes: all kinds of it."""
    monkeypatch.setenv(owners.RUN, identity)
    target = Path("results/models/m/adapter_model.safetensors")
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = staged(target, owner())
    usage = Path(f".snakemake/atlas/usage/{owner()}.{os.getpid()}.json")
    usage.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(f".snakemake/atlas/scratch/{owner()}")
    scratch.mkdir(parents=True)
    (scratch / OWNER_FILE).write_text(owner())
    os.utime(scratch, (time.time() - 20 * 86_400,) * 2)
    database = of_run(identity)
    stage.write_bytes(b"half")
    database.sha256(stage)
    usage.write_text("{}")
    place = hub.beside(str(cache))
    folder = passing_folder(target.parent)
    (Path(folder.name) / "weights").write_bytes(b"half")
    for made in (place, folder):
        made._finalizer.detach()  # as a killed job leaves it
    monkeypatch.delenv(owners.RUN)
    digests = Path(".snakemake/atlas/digests").glob(f"{owner(identity)}*")
    return {Path(folder.name), stage, usage, scratch, Path(place.name), *digests}


@pytest.mark.parametrize("shared", [False, True])
def test_only_what_is_proven_dead_is_taken(runs, tmp_path, monkeypatch, shared):
    cache = tmp_path / "shared" if shared else Path(".snakemake/atlas/cache")
    left = {name: litter(run, cache, monkeypatch) for name, run in runs.items()}
    assert all(len(files) >= 6 for files in left.values())
    foreign = Path(f"results/models/.x{STAGE_MARK}0123.txt"), Path("results/.notes.tmp")
    for file in foreign:
        file.write_text("somebody's own")
    young = Path(".snakemake/atlas/scratch/young")
    young.mkdir()
    (young / OWNER_FILE).write_text(owner(runs["over"]))
    assert sweep(cache) == len(left["over"])
    assert not any(place.exists() for place in left["over"])
    assert all(place.exists() for place in left["living"] | left["elsewhere"] | {*foreign, young})
    assert sweep(cache) == 0


def test_a_process_that_is_hidden_may_live(runs, monkeypatch):
    """/proc may show an account its own processes only."""
    living = owner(runs["living"])
    monkeypatch.setattr(owners, "start_time", lambda pid: "1" if pid == os.getpid() else None)
    assert owners.is_over(living)

    def kill(pid, number):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", kill)
        assert not owners.is_over(living)


def test_a_living_run_still_writes_to_its_digests(runs):
    """What a second run met: "attempt to write a readonly database"."""
    mine: DigestCache = of_run(runs["living"])
    file = Path("a")
    file.write_text("a")
    mine.sha256(file)
    sweep(Path("cache"))
    file.write_text("b")
    mine.put(file, "b")
    assert mine.sha256(file) == "b"


def test_a_stage_is_left_to_a_run_that_lives(runs):
    target = Path("results/a.txt")
    places = {name: _stage(target, run) for name, run in runs.items()}
    for place in places.values():
        place.write_text("half")
    mine = f"{os.getpid()}.{start_time(os.getpid())}.{machine()}."
    place = _stage(target, mine)
    place.write_text("my own, of a job that was killed")
    assert _stage(target, mine) == place
    assert {p for p in target.parent.iterdir() if p.name.startswith(".")} == {places["living"]}
