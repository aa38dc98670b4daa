"""What Snakemake takes to plan a pool of thousands: a dry run, and a run with nothing to do.

    python bench/large_pools.py [--models 5000] [--shards 50] [--keep-weights]

A TSV of adapters on a hub is written, with a configuration of three lines; nothing is fetched. For the
run with nothing to do, all outputs are there as empty files, recorded as Snakemake records its own.
Wall and processor time, and the largest resident memory, of each command.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "rules", "scripts", "config", "envs", "resources", "profiles", "notebooks")
ASKED = ("results/pools/large/neighbours.csv", "--configfile", "large.yaml")
DOMAINS = 20


@dataclass(frozen=True)
class Cost:
    """Of a command: seconds on the clock, of the processor, and megabytes."""

    wall: float
    processor: float
    memory: float
    output: str


def measure(folder: Path, *arguments: str) -> Cost:
    """Run Snakemake in a checkout."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments], cwd=folder, stdout=output, stderr=output,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"snakemake {' '.join(arguments)} failed:\n{text[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def check_out(folder: Path) -> None:
    """A checkout of the workflow."""
    for part in PARTS:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)


def prepare(folder: Path, models: int, shards: int, keep_weights: bool) -> None:
    """A sheet of adapters on a hub, and a pool of them."""
    base = next(iter(yaml.safe_load((ROOT / "config/config.yaml").read_text())["bases"]))
    lines = ["model\tsource\tbase\tdomain"]
    for i in range(models):
        lines.append(
            f"lab--adapter-{i:06d}\tlab/adapter-{i:06d}@{i:040x}\t{base}\tdomain-{i % DOMAINS}"
        )
    (folder / "large.tsv").write_text("\n".join(lines) + "\n")
    pool = {"sheet": "large.tsv", "spaces": ["delta_activations"], "shards": shards,
            "keep_weights": keep_weights}  # fmt: skip
    (folder / "large.yaml").write_text(yaml.safe_dump({"pools": {"large": pool}}))


def pretend(folder: Path, *asked: str) -> None:
    """Make all outputs behind what is asked for, with something in place of their statements."""
    summary = measure(folder, *asked, "--summary").output
    for name in re.findall(r"^(results/[^\t]+)\t", summary, flags=re.MULTILINE):
        for place in (folder / name, _pointer(folder, name)):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    measure(folder, *asked, "--touch", "--cores", "1", "--quiet", "all")


def idle(folder: Path, *arguments: str) -> Cost:
    """Run Snakemake where there is nothing to do."""
    cost = measure(folder, *arguments)
    if "Nothing to be done" not in cost.output:
        raise SystemExit(f"there was something to do:\n{cost.output[-2000:]}")
    return cost


def _pointer(folder: Path, name: str) -> Path:
    mirrored = name.removeprefix("results/")
    return folder / "results/provenance/attestations" / f"{mirrored}.json"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=5000)
    parser.add_argument("--shards", type=int, default=50)
    parser.add_argument("--keep-weights", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        check_out(folder)
        prepare(folder, given.models, given.shards, given.keep_weights)
        show("dry run", measure(folder, *ASKED, "-n", "--quiet", "all"))
        for _ in range(1 + given.keep_weights):  # what follows the checkpoint shows when it is done
            pretend(folder, *ASKED)
        show("nothing to do", idle(folder, *ASKED, "--cores", "1"))


def show(what: str, cost: Cost) -> None:
    """One line of the result."""
    print(f"{what:<14} {cost.wall:8.1f} s  {cost.processor:8.1f} s of the processor  "
          f"{cost.memory:8.0f} MB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
