"""What `lineage.py affected` says of modules and packages, against what Snakemake plans for others.

    python bench/replanned.py results/tables/main.csv --root . --modules 50 --packages 20

In a copy of the checkout, with the same results, a module gets a line more, or a package says another
version; `snakemake --summary` then tells which outputs of the targets are to be made again.
"""

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from atlas.job.closures import is_outside
from atlas.lineage.forward.affected import affected
from atlas.lineage.forward.asked import asked
from atlas.lineage.forward.index import open_at_hand

PARTS = (
    "Snakefile",
    "rules",
    "scripts",
    "config",
    "envs",
    "resources",
    "profiles",
    "slurm",
    "notebooks",
)


def pending(folder: Path, targets: list[str], **environment: str) -> tuple[set[str], set[str]]:
    """Outputs of the targets that are to be made again, and all of them."""
    command = [sys.executable, "-m", "snakemake", "--summary", *targets]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    start = done.stdout.index("output_file\t")
    rows = list(csv.DictReader(done.stdout[start:].splitlines(), delimiter="\t"))
    files = {row["output_file"] for row in rows}
    return {row["output_file"] for row in rows if row["plan"] == "update pending"}, files


def main() -> None:
    """Print both answers for each; exit status 1 where `affected` misses anything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="+")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--configfile", nargs="*", default=[])
    parser.add_argument("--modules", type=int, default=50)
    parser.add_argument("--packages", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    records, draw = open_at_hand(options.root), random.Random(options.seed)
    made = [
        one for one in records.every if any(records.pointed(p) == one.digest for p in one.outputs)
    ]
    modules = sorted({name for one in made for name in one.code["modules"] if not is_outside(name)})
    packages = sorted({name for one in made for name in one.code["distributions"]})
    missing, beyond = [], Counter[str]()

    def compare(what: str, planned: set[str], files: set[str]) -> None:
        listed = {one.file for one in affected(records, asked(what, records)).holding} & files
        missing.extend(f"{what}: {file}" for file in sorted(planned - listed))
        beyond[what.partition(":")[0]] += len(listed - planned)
        print(f"{what:60} planned {len(planned):5}  listed {len(listed):5}", flush=True)

    with tempfile.TemporaryDirectory(dir=options.root) as scratch:
        folder = Path(scratch) / "copy"
        for part in PARTS:
            copy = shutil.copytree if (options.root / part).is_dir() else shutil.copy2
            folder.mkdir(exist_ok=True)
            copy(options.root / part, folder / part)
        for part in ("results", ".snakemake"):
            shutil.copytree(options.root / part, folder / part, symlinks=True,
                            copy_function=os.link if part == "results" else shutil.copy2)  # fmt: skip
        configured = ["--configfile", *options.configfile] if options.configfile else []
        targets = [*options.targets, *configured]
        for file in options.configfile:
            shutil.copy2(options.root / file, folder / file)
        nothing, files = pending(folder, targets)
        assert not nothing, f"not up to date: {sorted(nothing)}"
        for module in draw.sample(modules, min(options.modules, len(modules))):
            place = folder / "scripts" / f"{module.replace('.', '/')}.py"
            place = place if place.is_file() else place.with_suffix("") / "__init__.py"
            text = place.read_text(encoding="utf-8")
            place.write_text(f"{text}\n_ALTERED = True\n", encoding="utf-8")
            compare(f"module:{module}", pending(folder, targets)[0], files)
            place.write_text(text, encoding="utf-8")
        for package in draw.sample(packages, min(options.packages, len(packages))):
            # What is first on the path of Python is what is installed.
            with tempfile.TemporaryDirectory() as first:
                said = Path(first) / f"{package.replace('-', '_')}-999.0.dist-info/METADATA"
                said.parent.mkdir()
                said.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 999.0\n")
                planned, _ = pending(folder, targets, PYTHONPATH=first)
            compare(f"package:{package}", planned, files)
    print(f"listed beyond what is planned: {dict(beyond)}")
    print(f"missing: {missing or 'none'}")
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
