"""The default configuration: the main job, and experiments that can each be read alone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from atlas.configuration.files import default_files, layers, merged, read
from atlas.plan.building import build

CONFIG = Path(__file__).resolve().parents[3] / "config"
MAIN = CONFIG / "config.yaml"
EXPERIMENTS = default_files([MAIN])[1:]
TABLES = [
    "main", "additive", "robustness", "fewshot", "preference", "instructions", "cross_checkpoint",
    "spaces", "cross_architecture", "outputs", "selection", "instruct_outputs", "temporal",
    "geometry", "weight_space",
]  # fmt: skip


def head(file: Path) -> list[str]:
    """Lines of the comment that a file begins with."""
    comment = re.match(r"(# .*\n)+", file.read_text(encoding="utf-8"))
    assert comment, f"{file.name} begins with no comment"
    return [line.removeprefix("# ") for line in comment[0].splitlines()]


def named(file: Path) -> set[Path]:
    """A file and those that its first lines name, and theirs."""
    others = {file.parent / name for name in re.findall(r"\d\d_\w+\.yaml", " ".join(head(file)))}
    return {file}.union(*map(named, others))


def test_tables_stand_in_the_order_of_the_summary():
    """The main job, what the paper has, then instruction deltas and geometry."""
    whole, default = layers([MAIN], {})
    plan = build(whole, default=default)
    assert list(plan.config.tables) == plan.summary == TABLES


def test_the_main_job_is_all_of_its_file():
    data = read(MAIN)
    counts = {key: len(entries) for key, entries in data.items()}
    assert counts == {"bases": 1, "encoders": 1, "datasets": 5, "recipes": 1, "grids": 1,
                      "pools": 1, "tables": 1}  # fmt: skip
    assert len(MAIN.read_text(encoding="utf-8").splitlines()) < 160
    assert len(build(data).pools["smollm2"].models) == 15


def test_nothing_is_defined_twice():
    names = Counter(
        (section, name)
        for file in [MAIN, *EXPERIMENTS]
        for section, entries in read(file).items() for name in entries
    )  # fmt: skip
    assert not [name for name, count in names.items() if count > 1]


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_an_experiment_can_be_read_alone(file):
    """With the main job, and the files that it names in its first lines."""
    *question, command = head(file)
    assert "? " in f"{' '.join(question)} "
    tables = list(read(file)["tables"])
    asked = " ".join(f"results/tables/{table}.csv" for table in tables)
    assert command == f"  snakemake {asked} --cores 2 --resources gpu=1"
    assert any(table in file.stem for table in tables)
    plan = build(merged(map(read, [MAIN, *named(file)])))
    assert set(tables) <= set(plan.config.tables)
