"""The section of docs/tasks.md on finding models, followed to the letter."""

import csv
import re
import shutil
import subprocess

import pytest

from documents import blocks
from main.test_main_experiment import near
from micro import checkout, environment

pytestmark = pytest.mark.main


def test_examples_find_models_of_their_domain(main_run, tmp_path):
    folder = checkout(tmp_path / "checkout")
    for part in ("results", ".snakemake/metadata"):
        shutil.copytree(main_run / part, folder / part, copy_function=near, symlinks=True)
    shown = {
        block.file or block.mark: block.text for block in blocks("docs/tasks.md") if block.mark
    }
    assert set(shown) == {"examples.jsonl", "run"}
    (folder / "examples.jsonl").write_text(shown["examples.jsonl"])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shown["run"]], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    (log,) = (folder / ".snakemake/log").glob("*.snakemake.log")
    trained = re.findall(r"^Job \d+: (train .*)$", log.read_text(), re.MULTILINE)
    assert trained == ["train retrieval-examples"]
    with (folder / "results/retrieval/examples/models.csv").open(newline="") as handle:
        found = list(csv.DictReader(handle))
    assert len(found) == 15
    assert found[0]["domain"] == "math"
