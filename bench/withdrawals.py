"""What `lineage.py affected` says of rows and files of a run, against what altering them changes.

    python bench/withdrawals.py --root . --rows 200 --files 100

A row by chance is altered in a copy of its raw file; the splits and the training rows that stand on it are
made again and compared by their digests. What has an input with other bytes, and is dear to make (a trained
model, and all behind it), counts as changed: more cannot be, for a job's bytes hang on what it read. Of a
file, all that has it behind it counts as changed.
"""

import argparse
import functools
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from atlas.datasets import splits, training_rows
from atlas.digests import sha256_file
from atlas.job.statements import Statement
from atlas.job.withdrawn.reach import File
from atlas.job.withdrawn.rows import DRAW, RAW, SPLIT
from atlas.lineage.forward.affected import affected
from atlas.lineage.forward.asked import asked
from atlas.lineage.forward.index import AtHand, open_at_hand

CHEAP: dict[str, Callable[..., None]] = {SPLIT: splits.make_split, DRAW: training_rows.prepare_rows}
LISTS = ("tokenizer", "splits", "raw")  # arguments of prepare_rows that are lists


def current(records: AtHand) -> list[Statement]:
    """Jobs whose outputs are there, in the order in which they ran."""
    return [made for made in records.every
            if any(records.pointed(path) == made.digest for path in made.outputs)]  # fmt: skip


def made_again(
    records: AtHand, made: Statement, placed: dict[str, Path], folder: Path
) -> dict[str, Path]:
    """Outputs of a cheap job, made again in a folder.

    :param placed: inputs that are elsewhere than in the run.
    """
    function = CHEAP[made.code["function"]]
    arguments: dict[str, object] = {}
    for path, name in made.input_names.items():
        arguments.setdefault(name, []).append(placed.get(path, records.path(path)))  # type: ignore[attr-defined]
    lists = LISTS if function is training_rows.prepare_rows else ()
    inputs = {k: v if k in lists else v[0] for k, v in arguments.items()}  # type: ignore[index]
    outputs = {name: folder / path for path, name in made.output_names.items()}
    for place in outputs.values():
        place.parent.mkdir(parents=True, exist_ok=True)
    function(**inputs, **made.params, **outputs)
    return {path: folder / path for path in made.outputs}


def changed(
    records: AtHand, jobs: Iterable[Statement], first: File, there: Path | None = None
) -> set[str]:
    """Artefacts that are others, or may be, where a file is.

    :param there: the other file; None: what is cheap is not made again, either.
    """
    found, placed = {first}, {first[0]: there} if there else {}
    with tempfile.TemporaryDirectory() as scratch:
        for made in jobs:
            if not (others := found.intersection(made.inputs.items())):
                continue
            if made.code["function"] in CHEAP and {path for path, _ in others} <= placed.keys():
                for path, place in made_again(records, made, placed, Path(scratch)).items():
                    if sha256_file(place) != made.outputs[path]:
                        found.add((path, made.outputs[path]))
                        placed[path] = place
            else:
                found.update(made.outputs.items())
    now = {(path, made.outputs[path]) for made in jobs for path in made.outputs
           if records.pointed(path) == made.digest}  # fmt: skip
    return {path for path, _ in (found - {first}) & now}


def altered(place: Path, number: int, target: Path) -> None:
    """A raw file with a word more in one of its rows."""
    lines = place.read_text(encoding="utf-8").split("\n")
    lines[number] = json.dumps(_altered(json.loads(lines[number])), ensure_ascii=False)
    target.write_text("\n".join(lines), encoding="utf-8")


def _altered(value: object) -> object:
    """With a word more at the end of each text."""
    if isinstance(value, dict):
        return {key: _altered(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_altered(inner) for inner in value]
    return f"{value} altered" if isinstance(value, str) else value


def told(
    records: AtHand, what: str, really: set[str], missing: list[str], beyond: Counter[str]
) -> None:
    """Compare, and count by rule what is listed and did not change.

    What has a row nowhere in it is listed apart: it changes where the row did not fit, and now does.
    """
    found = affected(records, asked(what, records))
    listed = {one.file: one.job.split()[0] for one in found.holding}
    moved = {one.file for one in found.artefacts} - listed.keys()
    missing += [f"{what}: {file}" for file in sorted(really - listed.keys() - moved)]
    extra = [rule for file, rule in listed.items() if file not in really]
    beyond.update(extra)
    beyond["(listed apart, and changed)"] += len(really & moved)
    print(
        f"{what:60} changed {len(really):5}  listed {len(listed):5}  beyond {len(extra):4}  "
        f"apart {len(really & moved):4}",
        flush=True,
    )


def main() -> None:
    """Print what each withdrawal changes and what is said of it; exit status 1 where anything is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    records, draw = open_at_hand(options.root), random.Random(options.seed)
    jobs, missing = current(records), list[str]()
    training_rows.Tokens = functools.cache(training_rows.Tokens)  # type: ignore[misc, assignment]
    raws = sorted({path for made in jobs if made.code["function"] == SPLIT for path in made.inputs
                   if path.startswith(RAW)})  # fmt: skip
    beyond = {"rows": Counter[str](), "files": Counter[str]()}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(options.rows):
            raw = draw.choice(raws)
            rows = len(records.path(raw).read_bytes().splitlines())
            number, place = draw.randrange(rows), Path(scratch) / "raw.jsonl"
            altered(records.path(raw), number, place)
            name = f"{raw.removeprefix(RAW).removesuffix('.jsonl')}:{number}"
            made = records.statement(raw)
            assert made is not None
            really = changed(records, jobs, (raw, made.outputs[raw]), place)
            told(records, name, really | {raw}, missing, beyond["rows"])
    files = sorted({file for made in jobs for file in made.outputs.items()
                    if records.pointed(file[0]) == made.digest})  # fmt: skip
    for file in draw.sample(files, options.files):
        really = changed(records, jobs, file) | {file[0]}
        told(records, f"file:{file[0]}", really, missing, beyond["files"])
    for kind, counted in beyond.items():
        print(f"{kind}: listed beyond what changed, by rule: {dict(counted.most_common())}")
    print(f"missing: {missing or 'none'}")
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
