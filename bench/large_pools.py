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
TARGET = "results/pools/large/neighbours.csv"
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
    with (folder / "output.txt").open("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", TARGET, "--configfile", "large.yaml", *arguments],
            cwd=folder, stdout=output, stderr=output,
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        output.seek(0)
        text = output.read()
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"snakemake {' '.join(arguments)} failed:\n{text[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def prepare(folder: Path, models: int, shards: int, keep_weights: bool) -> None:
    """A checkout with a sheet of adapters on a hub and a pool of them."""
    for part in PARTS:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)
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


def pretend(folder: Path, summary: str) -> None:
    """Make the outputs that a summary names, with something in place of their statements."""
    for name in re.findall(r"^(results/[^\t]+)\t", summary, flags=re.MULTILINE):
        for place in (folder / name, _pointer(folder, name)):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


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
        prepare(folder, given.models, given.shards, given.keep_weights)
        show("dry run", measure(folder, "-n", "--quiet", "all"))
        pretend(folder, measure(folder, "--summary").output)
        measure(folder, "--touch", "--cores", "1", "--quiet", "all")
        idle = measure(folder, "--cores", "1")
        if "Nothing to be done" not in idle.output:
            raise SystemExit(f"there was something to do:\n{idle.output[-2000:]}")
        show("nothing to do", idle)


def show(what: str, cost: Cost) -> None:
    """One line of the result."""
    print(f"{what:<14} {cost.wall:8.1f} s  {cost.processor:8.1f} s of the processor  "
          f"{cost.memory:8.0f} MB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
