"""Seconds that lineage.py affected, find and withdraw take on a folder of many statements.

    python bench/lineage_questions.py                          # 50,000 statements, made for it (1 GB)
    python bench/lineage_questions.py --root .                 # those of a run

Each command is a process of its own, as somebody types it: once with nothing kept under .snakemake/ from an
earlier question, then again.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from atlas.job import statements
from atlas.job.closures import Library
from atlas.job.statements import Statement, content, place_of, pointer_to

MODELS_OF_A_POOL, SPACES = 50, 4
BASE = [f"results/sources/bases/base/{name}" for name in
        ("base.json", "config.json", "model.safetensors", "tokenizer.json")]  # fmt: skip


class Folder:
    """A folder of statements whose files are not there: only the digests of small texts."""

    def __init__(self, root: Path, outside: dict[str, str], packages: dict[str, str]) -> None:
        self.root, self.outside, self.packages = root, outside, packages
        self.digests: dict[str, str] = {}
        self.count = 0

    def job(self, rule: str, outputs: list[str], inputs: list[str], **wildcards: str) -> None:
        """One statement, as large as those of the main job."""
        self.count += 1
        modules = {f"atlas.{rule}.part{n}": sha256(bytes([n])).hexdigest()[:16] for n in range(12)}
        made = Statement(
            rule=rule, wildcards=wildcards, params={"seed": self.count, "recipe": {"epochs": 3}},
            code={"function": f"atlas.{rule}:run", "modules": modules, "outside": self.outside,
                  "distributions": {"torch": "2.0", "trl": "1.16.0"}},
            outputs={path: sha256(f"{path}{self.count}".encode()).hexdigest() for path in outputs},
            inputs={path: self.digests[path] for path in inputs},
            output_names=dict.fromkeys(outputs, "made"), input_names=dict.fromkeys(inputs, "read"),
            packages=self.packages, execution={"host": "host", "device": "cpu", "threads": 1},
            started="2026-01-01T00:00:00+00:00", run="1.2.host.", finished=_time(self.count),
        )  # fmt: skip
        self.digests |= made.outputs
        data = json.dumps(content(made), sort_keys=True, separators=(",", ":")).encode()
        place = self.root / place_of(sha256(data).hexdigest())
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        for path in outputs:
            link = self.root / pointer_to(path)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(place, link.parent))


def _time(second: int) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).isoformat()


def make(root: Path, count: int) -> int:
    """Sources, models of ten datasets, pools of them, tables of the pools."""
    folder = Folder(root, Library().outside(), statements.distributions())
    folder.job("fetch_base", BASE, [], base="base")
    for n in range(10):
        folder.job("fetch_rows", [f"results/sources/datasets/d{n}.jsonl"], [], dataset=f"d{n}")
    pool = 0
    while folder.count < count:
        models = [f"m{pool}-{n}" for n in range(MODELS_OF_A_POOL)]
        for n, model in enumerate(models):
            stem = f"results/models/{model}"
            folder.job("prepare_rows", [f"{stem}/rows.jsonl", f"{stem}/rows.counts.json"],
                       [f"results/sources/datasets/d{n % 10}.jsonl"], model=model)  # fmt: skip
            weights = [f"{stem}/{name}" for name in
                       ("adapter_model.safetensors", "adapter_config.json", "README.md")]  # fmt: skip
            folder.job("train_adapter", weights, [f"{stem}/rows.jsonl", *BASE], model=model)
        read = [f"results/models/{model}/adapter_model.safetensors" for model in models]
        spaces = [f"results/pools/p{pool}/s{n}/embeddings.npz" for n in range(SPACES)]
        for space in spaces:
            folder.job("embed", [space], [*read, *BASE], pool=f"p{pool}")
        folder.job(
            "silhouettes", [f"results/pools/p{pool}/silhouette.csv"], spaces, pool=f"p{pool}"
        )
        folder.job("main_table", [f"results/tables/t{pool}.csv"],
                   [f"results/pools/p{pool}/silhouette.csv"], table=f"t{pool}")  # fmt: skip
        pool += 1
    return folder.count


def _processor() -> float:
    """Seconds of the processor that processes which have ended had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


QUESTIONS = (("affected", "trl<1.17"), ("affected", "{dataset}"), ("affected", "{model}"),
             ("find", "stage = 'models' AND seed > 3 AND packages MATCH 'trl>=1.16'"),
             ("withdraw",))  # fmt: skip


def main() -> None:
    """Print the seconds of each question."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--statements", type=int, default=50_000)
    parser.add_argument(
        "--root", type=Path, help="a folder that holds results/, in place of one made"
    )
    parser.add_argument("--dataset", default="dataset:d3")
    parser.add_argument("--model", default="model:m0-0")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch)
        count = len(list((root / statements.STATEMENTS).glob("*/*"))) or make(
            root, options.statements
        )
        print(f"{count:,} statements")
        kept = root / ".snakemake/atlas"
        kept.mkdir(parents=True, exist_ok=True)
        for file in kept.glob("statements-*.sqlite"):
            file.unlink()
        for number, question in enumerate((QUESTIONS[0], *QUESTIONS)):
            words = [word.format(dataset=options.dataset, model=options.model) for word in question]
            start, used = time.perf_counter(), _processor()
            line = [
                sys.executable,
                str(ROOT / "scripts/lineage.py"),
                *words,
                "--root",
                str(root),
                "--json",
            ]
            done = subprocess.run(line, check=True, capture_output=True)
            seconds, megabytes = time.perf_counter() - start, len(done.stdout) / 1e6
            note = "nothing kept yet" if number == 0 else "again"
            spent = f"{seconds:6.2f} s, of the processor {_processor() - used:6.2f} s"
            print(
                f"{' '.join(words)[:60]:60}  {spent}  {megabytes:5.1f} MB of JSON  {note}",
                flush=True,
            )
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
