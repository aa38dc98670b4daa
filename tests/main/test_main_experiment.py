"""docs/extending.md, followed to the letter."""

import csv
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from documents import blocks, write_file
from micro import checkout, environment

pytestmark = pytest.mark.main
EXISTING = ("Snakefile", "rules/embeddings.smk")


def near(source, target) -> None:
    """A hard link, or a copy where the two are on different disks."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def followed(main_run, tmp_path_factory) -> Path:
    """A checkout with the finished main job, after every block of the section, in its order."""
    folder = checkout(tmp_path_factory.mktemp("experiment") / "checkout")
    for part in ("results", ".snakemake/metadata"):
        shutil.copytree(main_run / part, folder / part, copy_function=near, symlinks=True)
    shown = [block for block in blocks("docs/extending.md") if block.mark]
    assert [block.file or block.mark for block in shown] == [
        "riddles.jsonl", "riddles.yaml", "run", "mine.yaml", "run", "scripts/shift_norms.py",
        "rules/shift_norms.smk", "Snakefile", "run", "scripts/atlas/delta_median.py",
        "scripts/embed_delta_median.py", "rules/embeddings.smk", "patch", "medians.yaml", "run",
    ]  # fmt: skip
    for block in shown:
        if block.file:
            assert (folder / block.file).exists() == (block.file in EXISTING)
            write_file(block, folder)
            continue
        command = ["git", "apply", "-"] if block.mark == "patch" else ["bash", "-euo", "pipefail"]
        done = subprocess.run(
            command, input=block.text, cwd=folder, env=environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.text}:\n{done.stdout[-4000:]}"
        assert not re.search(r"^Job \d+: train", done.stdout, re.MULTILINE)
    return folder


def rows(file: Path) -> list[dict]:
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_entry_makes_a_table(followed):
    found = {r["pool"]: int(r["models"]) for r in rows(followed / "results/tables/two_splits.csv")}
    assert found == {"smollm2": 15, "short": 10}


def test_the_rule_makes_its_file(followed):
    found = rows(followed / "results/pools/smollm2/shift_norms.csv")
    data = np.load(followed / "results/pools/smollm2/delta_activations/embeddings.npz")
    norms = dict(zip(data["model_names"], np.linalg.norm(data["embeddings"], axis=1), strict=True))
    assert {r["model"] for r in found} == set(norms)
    for row in found:
        assert float(row["norm"]) == pytest.approx(norms[row["model"]], rel=1e-5)
    assert [float(r["norm"]) for r in found] == sorted(
        (float(r["norm"]) for r in found), reverse=True
    )


def test_the_rows_are_made(followed):
    text = (followed / "results/datasets/riddles/first.jsonl").read_text()
    assert "Solve the riddle." in text
    assert " A piano." in text


def test_the_space_is_measured(followed):
    found = {r["space"] for r in rows(followed / "results/pools/medians/silhouette.csv")}
    assert found == {"delta_activations", "delta_median"}
    pool = followed / "results/pools/medians"
    median = np.load(pool / "delta_median/embeddings.npz")["embeddings"]
    mean = np.load(pool / "delta_activations/embeddings.npz")["embeddings"]
    assert median.shape == mean.shape
    assert not np.array_equal(median, mean)
    assert "delta_median" in (followed / "config/README.md").read_text()
