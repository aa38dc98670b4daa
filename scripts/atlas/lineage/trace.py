"""The way from a file, or a row of it, back to raw rows, base weights, recipe, seed and code."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.datasets.row_ids import origins
from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import parse_jsonl, read_bounded, read_csv, read_json, read_object
from atlas.job.records import Records
from atlas.job.statements import RESULTS, Statement
from atlas.job.withdrawn.notices import Withdrawn
from atlas.lineage.graph import Graph, Node, build_graph

DATASETS = f"{RESULTS}/datasets/"
SOURCES = f"{RESULTS}/sources/datasets/"


@dataclass
class Trace:
    """What is behind a file.

    :param row: the row that was asked for, column -> value.
    :param raw: for a row of training rows or of a split: the rows that it was made from, by file.
    :param known_as: how a file outside results/ was recognised.
    :param withdrawn: on what it hangs that was withdrawn, in words.
    """

    file: str
    sha256: str
    graph: Graph
    row: dict[str, str] | None = None
    raw: list[dict[str, Any]] = field(default_factory=list)
    known_as: str | None = None
    withdrawn: str | None = None


def trace(records: Records, file: str, number: int | None = None) -> Trace:
    """Trace an artefact.

    :param number: a row of a .csv or .jsonl file, counted from 1, the header not counted.
    :raises AtlasError: for a file that is not there, that no job made or that was altered since,
        and for a row that it does not have.
    """
    made = records.statement(file)
    if made is None:
        raise AtlasError(f"{file}: has no attestation; no job of this workflow made it.")
    place, digest = records.path(file), made.outputs[file]
    if place.is_file() and sha256_file(place) != digest:
        raise AtlasError(
            f"{file}: was altered since {made.rule} made it, so that its attestation says nothing "
            "of it; see lineage.py verify."
        )
    row = None if number is None else _row(place, file, number)
    return _traced(records, made, file, row)


def _traced(
    records: Records, made: Statement, file: str, row: dict[str, Any] | None, known_as: str = ""
) -> Trace:
    texts = {name: value for name, value in (row or {}).items() if isinstance(value, str)}
    graph = build_graph(records, made, texts)
    raw = _raw(records, file, row) if row else []
    digest = made.outputs[file]
    notice = Withdrawn(records).on(file, digest)
    return Trace(file, digest, graph, row, raw, known_as or None, notice and notice.sentence)


def _row(place: Path, file: str, number: int) -> dict[str, Any]:
    if not place.is_file():
        raise AtlasError(f"{file}: is not here, so that its rows cannot be read.")
    if file.endswith(".csv"):
        rows: list[Any] = read_csv(place)
    elif file.endswith(".jsonl"):
        rows = _lines(place)
    else:
        raise AtlasError(f"{file}: rows are asked of .csv and .jsonl files.")
    if not 1 <= number <= len(rows):
        raise AtlasError(f"{file}: has the rows 1 to {len(rows)}, not {number}.")
    return dict(rows[number - 1])


def _raw(records: Records, file: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    """From a training row to the rows of its splits, from those to the raw rows."""
    with _as_written(records.path(file)):
        if file.endswith("/rows.jsonl"):
            return _raw_of_training(records, file, row)
        if file.startswith(DATASETS) and "row" in row:
            return _raw_row(records, file, row["row"])
    return []


def _raw_of_training(records: Records, file: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    made = records.statement(file)
    inputs = sorted(made.inputs) if made else []
    found = []
    for name, number in origins(row):
        stem = f"{DATASETS}{name}"
        split = next((p for p in inputs if p.startswith(f"{stem}+")), f"{stem}.jsonl")
        lines = [line for line in _lines(records.path(split)) if line["row"] == number]
        found += [{"file": split, "row": number, "content": line} for line in lines]
        found += _raw_row(records, split, number)
    return found


def _raw_row(records: Records, split: str, number: int) -> list[dict[str, Any]]:
    """The raw row behind a row of a split, where the raw file is here."""
    source = f"{SOURCES}{split.removeprefix(DATASETS).partition('/')[0]}.jsonl"
    lines = _lines(records.path(source))
    if not 0 <= number < len(lines):
        return []
    return [{"file": source, "row": number, "content": lines[number]}]


def _lines(place: Path) -> list[dict[str, Any]]:
    if not place.is_file():
        return []
    with _as_written(place):
        lines = read_bounded(place).decode().split("\n")
    return list(parse_jsonl(lines, str(place)))


@contextlib.contextmanager
def _as_written(place: Path) -> Iterator[None]:
    """Within this context, a file is read that has the bytes of its statement, whoever wrote both.

    :raises AtlasError: where it is not as a job writes it.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise AtlasError(
            f"{place}: is not as a job writes it ({type(error).__name__}); see lineage.py verify."
        ) from None


def used_rows(records: Records, path: str) -> dict[str, list[int]]:
    """Rows that a model is trained on: dataset/split -> ids in the raw file, in order of use."""
    found: dict[str, list[int]] = {}
    for line in _lines(records.path(path)):
        with _as_written(records.path(path)):
            for name, number in origins(line):
                numbers = found.setdefault(name, [])
                if number not in numbers[-1:]:  # a packed row may go on in the next line
                    numbers.append(number)
    return found


def trace_stranger(records: Records | None, place: Path, number: int | None = None) -> Trace:
    """Trace a file found anywhere, by its bytes.

    :param number: a row of it, as for :func:`trace`.
    :raises AtlasError: where no statement knows it; the sentence says what the file says of itself.
    """
    if not place.is_file():
        raise AtlasError(f"{place}: there is no such file.")
    digest = sha256_file(place)
    alike = _alike(records, digest) if records else []
    if records is None or not alike:
        where = f"nothing in {RESULTS} has its bytes" if records else "no results are at hand"
        says = f" {describe(place, records)}".rstrip()
        raise AtlasError(f"{place}: SHA-256 {digest}; {where}.{says}")
    name, made = next(iter(alike.items()))
    row = None if number is None else _row(place, str(place), number)
    others = "".join(f", and of {other}" for other in list(alike)[1:])
    return _traced(records, made, name, row, f"{place} has the bytes of {name}{others}")


def _alike(records: Records, digest: str) -> dict[str, Statement]:
    """Artefacts with these bytes, by their newest statements; the newest first, copies last."""
    made = sorted((s for s in records.all_statements() if digest in s.outputs.values()),
                  key=lambda s: s.finished, reverse=True)  # fmt: skip
    found: dict[str, Statement] = {}
    for statement in sorted(made, key=lambda s: digest in s.inputs.values()):
        for path, of in statement.outputs.items():
            if of == digest:
                found.setdefault(path, statement)
    return found


def describe(place: Path, records: Records | None) -> str:
    """What a safetensors file says of its own origin, in a sentence; empty where it says nothing."""
    says = safetensors_metadata(place)
    if "base_sha256" not in says:
        return ""
    parts = [f"It says of itself: the model {says.get('model', 'without a name')}, made from the base "
             f"{says.get('base', 'without a name')} (weights SHA-256 {says['base_sha256']})"]  # fmt: skip
    if "rows_sha256" in says:
        parts.append(f"trained on rows with the SHA-256 {says['rows_sha256']}")
    known = []
    if records is not None:
        for record in sorted((records.root / RESULTS / "sources/bases").glob("*/base.json")):
            if read_object(record).get("weights_sha256") == says["base_sha256"]:
                known.append(f"that base is here as {record.parent.name}")
        if "rows_sha256" in says and (alike := _alike(records, says["rows_sha256"])):
            known.append(f"those rows are here as {next(iter(alike))}")
    return "; ".join([*parts, *known]) + "."


def safetensors_metadata(place: Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty for any other file."""
    if place.suffix != ".safetensors":
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(place, "np") as handle:
            return handle.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def facts(records: Records, node: Node) -> list[tuple[str, str]]:
    """What people ask of a job: recipe, seed, rows, origin, licence, code; name and text."""
    if node.statement is None:
        return []
    s, params, found = node.statement, node.statement.params, []
    if isinstance(recipe := params.get("recipe"), dict):
        chosen = ("objective", "parameters", "learning_rate", "epochs", "max_steps", "batch_size",
                  "accumulation", "scheduler", "optimizer")  # fmt: skip
        known = (f"{k} {recipe[k]}" for k in chosen if recipe.get(k) is not None)
        found.append(("recipe", ", ".join(known)))
    if "seed" in params:
        found.append(("seed", str(params["seed"])))
    for path in s.outputs:
        if path.endswith("/rows.jsonl"):
            found += [("raw rows", f"{split}: {', '.join(map(str, rows))}")
                      for split, rows in used_rows(records, path).items()]  # fmt: skip
        if node.stage == "sources" and path.endswith(".json"):
            found += _origin(records.path(path))
    return [*found, ("code", f"{s.code['function']}, {len(s.code['modules'])} modules")]


def _origin(record: Path) -> list[tuple[str, str]]:
    """Origin and licence, as the record of a base, encoder or dataset has them."""
    if not record.is_file():
        return []
    value = read_json(record)
    if not isinstance(value, dict) or "origin" not in value:
        return []
    with _as_written(record):
        addresses = _addresses(value["origin"])
    more = (("licence", "licence", ""), ("weights", "weights_sha256", "SHA-256 "))
    return [
        *(("origin", text) for text in addresses),
        *((name, f"{before}{value[key]}") for name, key, before in more if key in value),
    ]


def _addresses(origin: dict[str, Any]) -> list[str]:
    kind, value = next(iter(origin.items()))
    if kind == "pypi":
        return [f"{f['name']}, member {f['member']}, SHA-256 {f['sha256']}" for f in value["files"]]
    if kind == "hub":
        return [f"{value['repo']} at {value.get('commit', value.get('revision'))}"]
    return [f"{kind}: {json.dumps(value)}"]


def plain(found: Trace, records: Records) -> dict[str, Any]:
    """A trace as JSON values."""
    return {
        "file": found.file, "sha256": found.sha256, "row": found.row, "raw": found.raw,
        "known_as": found.known_as, "withdrawn": found.withdrawn, "targets": found.graph.targets,
        "nodes": {
            key: {"label": n.label, "stage": n.stage, "outputs": n.outputs, **n.details,
                  "facts": [list(fact) for fact in facts(records, n)]}
            for key, n in sorted(found.graph.nodes.items())
        },
        "edges": [{"from": a, "to": b, "files": sorted(files)}
                  for (a, b), files in sorted(found.graph.edges.items())],
    }  # fmt: skip
