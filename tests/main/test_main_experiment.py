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
EXISTING = ("rules/experiments.smk", "rules/figures.smk", "rules/spaces.smk")


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
        "riddles.jsonl", "riddles.yaml", "run",
        "two_splits.yaml", "run",
        *(f"scripts/atlas/experiments/nearest/{name}.py"
          for name in ("__init__", "entry", "table", "findings")),
        "rules/experiments.smk", "resources/captions/nearest_table.rst",
        "config/experiments/14_nearest.yaml", "run",
        "scripts/atlas/figures/shift_norms.py", "rules/figures.smk", "run",
        "scripts/atlas/spaces/delta_median.py", "rules/spaces.smk", "medians.yaml", "run",
    ]  # fmt: skip
    for block in shown:
        if block.file:
            assert (folder / block.file).exists() == (block.file in EXISTING)
            write_file(block, folder)
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail"], input=block.text, cwd=folder, env=environment(), text=True,
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


def test_the_kind_makes_a_table_and_says_what_it_has(followed):
    pool = followed / "results/pools/smollm2"
    found = {r["space"]: r for r in rows(followed / "results/tables/nearest.csv")}
    assert len(found) == 6
    for space in ("delta_activations", "output_sentences"):
        data = np.load(pool / space / "embeddings.npz")
        unit = data["embeddings"].astype(np.float64)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        nearest = (unit @ unit.T - 2 * np.eye(len(unit))).argmax(axis=1)
        same = int((data["domains"][nearest] == data["domains"]).sum())
        assert (found[space]["same"], found[space]["models"]) == (str(same), "15")
    same = found["delta_activations"]["same"]
    assert (
        f"| smollm2 | 42 | delta_activations | 15 | {same} |"
        in (followed / "results/tables/nearest.md").read_text()
    )
    assert (
        f"* By delta activations, {same} of 15 models of `smollm2` (seed 42) have"
        in (followed / "results/summary.md").read_text()
    )


def test_the_figure_has_a_bar_for_each_model(followed):
    pool = followed / "results/pools/smollm2"
    norms = np.linalg.norm(np.load(pool / "delta_activations/embeddings.npz")["embeddings"], axis=1)
    svg = (pool / "figures/shift_norms.svg").read_text()
    bars = re.findall(r'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+) [^"]+"[^>]*fill: #0072b2', svg)
    lengths = [float(end) - float(start) for start, end in bars]
    longest = sorted(norms, reverse=True)
    assert lengths == pytest.approx([lengths[0] * n / longest[0] for n in longest], rel=1e-3)
    assert (pool / "figures/shift_norms.png").stat().st_size > 10_000


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
    reference = (followed / "config/README.md").read_text()
    assert "`delta_median`" in reference
    assert "### NearestTable" in reference
