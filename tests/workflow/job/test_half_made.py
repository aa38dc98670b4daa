"""Half-made is never whole: what a broken job leaves is not taken for a result."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from micro import digests, litter, micro, planned, small_config, snakemake
from workflow.job.test_kill import kill_and_settle, start
from workflow.lineage.test_tampering import lineage

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"
SILHOUETTE = "results/pools/micro/silhouette.csv"


def history(folder) -> list[dict]:
    """Attempts that the history tells of; a run has a line of its own."""
    lines = (folder / "results/provenance/history.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if "rule" in entry]


def training(folder) -> dict:
    """Wait until a training has opened its attempt file."""
    attempts = folder / "results/provenance/attempts"
    deadline = time.monotonic() + 60
    while not (found := list(attempts.glob("*/train_adapter-*"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return json.loads(found[0].read_text())


def test_an_output_without_its_statement_is_made_again(small_copy, small):
    (small_copy / "results/provenance/attestations/pools/micro/silhouette.csv.json").unlink()
    assert planned(small_copy, SILHOUETTE) == {"measure how micro clusters"}
    snakemake(small_copy, MAIN, "--cores", "1")
    assert digests(small_copy) == digests(small)
    assert lineage(small_copy, "verify").returncode == 0


def test_an_output_written_by_hand_is_no_output(small_copy, small):
    """As after a crash of something else, or a well-meant correction."""
    for name in (SILHOUETTE, MAIN):
        (small_copy / name).write_text("space,silhouette\nmine,1.0\n")
    assert planned(small_copy, MAIN) == {
        "measure how micro clusters", "write the navigator of micro", "write the main table",
        "draw micro by delta_activations",
    }  # fmt: skip
    snakemake(small_copy, MAIN, "--cores", "1")
    assert digests(small_copy) == digests(small)


def test_an_altered_input_is_not_read(copy):
    """Where Snakemake does not look at it (time stamp kept), the job does."""
    file = copy / "results/pools/micro/neighbours.csv"
    table = copy / SILHOUETTE
    before = table.stat()
    text = table.read_text()
    table.write_text(text.replace("cosine,", "Cosine,", 1))
    assert table.read_text() != text
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))
    (copy / MAIN).unlink()
    done = snakemake(copy, MAIN, "--cores", "1", check=False)
    assert done.returncode != 0
    assert "silhouette.csv is not what silhouettes made" in done.stdout
    assert file.exists()
    last = history(copy)[-1]
    assert (last["rule"], last["outcome"]) == ("main_table", "failed")
    assert "silhouette.csv" in last["error"]


def test_a_job_that_writes_and_then_fails_leaves_nothing(copy, finished):
    module = copy / "scripts/atlas/experiments/main/table.py"
    text = module.read_text()
    marker = "def main_table("
    assert marker in text
    broken = text + (
        "\n\n_main_table = main_table\n\n\ndef main_table(**arguments):\n"
        "    _main_table(**arguments)\n    raise RuntimeError('written, and then failed')\n"
    )
    module.write_text(broken)
    done = snakemake(copy, MAIN, "--cores", "1", "--keep-incomplete", check=False)
    assert done.returncode != 0
    assert not (copy / MAIN).exists()
    assert litter(copy) == []
    assert history(copy)[-1]["outcome"] == "failed"
    module.write_text(text)
    snakemake(copy, MAIN, "--cores", "1")
    assert digests(copy) == digests(finished)
    assert [e["outcome"] for e in history(copy) if e["rule"] == "main_table"] == [
        "finished", "failed", "finished",
    ]  # fmt: skip


def test_a_killed_attempt_stays_in_the_history(tmp_path):
    folder = micro(tmp_path / "checkout")
    target = "results/models/micro-alpha-first/adapter_model.safetensors"
    process = start(folder, target, "--cores", "1")
    training(folder)
    kill_and_settle(process, folder)
    assert not (folder / target).exists()
    live = json.loads(lineage(folder, "history", "--json").stdout)
    assert [e["outcome"] for e in live if e["rule"] == "train_adapter"] == ["killed"]
    snakemake(folder, "--unlock")
    snakemake(folder, target, "--cores", "1")
    trained = [e for e in history(folder) if e["rule"] == "train_adapter"]
    assert [e["outcome"] for e in trained] == ["killed", "finished"]
    assert "ended" not in trained[0]
    assert all(e["command"][0] == "snakemake" and target in e["command"] for e in trained)
    assert lineage(folder, "verify").returncode == 0


def test_a_single_killed_job_is_a_failed_run_with_nothing_half_made(tmp_path):
    """kill -9 of the job alone, as a machine short of memory does it."""
    folder = micro(tmp_path / "checkout")
    target = "results/models/micro-alpha-first/adapter_model.safetensors"
    process = start(folder, target, "--cores", "1")
    pid = int(training(folder)["process"].partition(".")[0])
    os.kill(pid, signal.SIGKILL)
    assert process.wait(timeout=60) != 0
    assert not (folder / target).exists()
    assert [e["outcome"] for e in history(folder) if e["rule"] == "train_adapter"] == ["killed"]


def test_a_clock_that_went_ahead(small_copy):
    """Artefacts of next week do not stop what is made of them today."""
    whole, ahead = digests(small_copy), time.time() + 1e6
    for file in (small_copy / "results").rglob("*"):
        os.utime(file, (ahead, ahead))
    (small_copy / MAIN).unlink()
    (small_copy / "results/pools/micro/silhouette.csv").unlink()
    snakemake(small_copy, MAIN, "--cores", "1")
    assert digests(small_copy) == whole
    assert lineage(small_copy, "verify").returncode == 0


def test_a_clock_that_is_set_back(small_copy):
    """What was made of files of tomorrow is kept, and not made again."""
    (small_copy / MAIN).unlink()
    raw, own = "results/sources/datasets/alpha.jsonl", small_copy / "data/alpha.jsonl"
    (small_copy / raw).unlink()
    ahead = (time.time() + 1e6,) * 2
    os.utime(own, ahead)
    for file in (small_copy / "results").rglob("config.json"):
        os.utime(file, ahead)
    snakemake(small_copy, raw, MAIN, "--cores", "1")
    assert planned(small_copy, raw, MAIN) == set()


@pytest.fixture
def mounted(tmp_path):
    """A checkout of few jobs, whose results/ is a file system of its own; how it is mounted, and again."""
    folder = micro(tmp_path / "checkout", small_config())
    results = folder / "results"
    results.mkdir()

    def mount(*options: str) -> None:
        done = subprocess.run(["mount", *options, str(results)], capture_output=True, check=False)
        if done.returncode and not results.is_mount():
            pytest.skip("mounting a file system takes rights that this account does not have")
        assert done.returncode == 0

    yield folder, mount
    subprocess.run(["umount", "-l", str(results)], check=results.is_mount(), capture_output=True)


def test_a_full_disk(mounted, small):
    """One sentence, nothing half-made, and on it goes."""
    folder, mount = mounted
    mount("-t", "tmpfs", "-o", "size=640k", "tmpfs")
    done = snakemake(folder, MAIN, "--cores", "1", check=False)
    assert done.returncode != 0
    assert "the disk is full" in done.stdout
    assert litter(folder) == []
    for name, digest in digests(folder).items():
        assert digests(small)[name] == digest
    mount("-o", "remount,size=200m")
    snakemake(folder, MAIN, "--cores", "2", "--resources", "gpu=1")
    assert digests(folder) == digests(small)


def test_a_folder_that_becomes_read_only(mounted):
    """A sentence for the run that is tried meanwhile; then it goes on."""
    folder, mount = mounted
    target = "results/sources/bases/micro/base.json"
    mount("-t", "tmpfs", "tmpfs")
    mount("-o", "remount,ro")
    done = snakemake(folder, target, "--cores", "1", check=False)
    assert done.returncode != 0 and "nothing may be read or written there (" in done.stdout
    assert "OSError" not in done.stdout and "Traceback" not in done.stdout
    mount("-o", "remount,rw")
    snakemake(folder, target, "--cores", "1")
    assert (folder / target).is_file()


@pytest.mark.parametrize("gone", ["tables", "pools/micro/silhouette.csv"])
def test_what_is_asked_for_is_there_though_it_follows_something_altered(small_copy, gone):
    """A companion of the table, made again, is no reason to leave out the table."""
    before = digests(small_copy)
    page = small_copy / "results/pools/micro/navigator.html"
    page.write_text(page.read_text() + " ")
    place = small_copy / "results" / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    (small_copy / MAIN).unlink(missing_ok=True)
    snakemake(small_copy, MAIN, "--cores", "1", "--resources", "gpu=1")
    assert digests(small_copy) == before


def test_a_folder_in_the_place_of_a_file(copy):
    (copy / MAIN).unlink()
    (copy / MAIN).mkdir()
    done = snakemake(copy, MAIN, "--cores", "1", check=False)
    assert done.returncode
    assert f"{MAIN}: is a folder, and a file is made there; move it away." in done.stdout
