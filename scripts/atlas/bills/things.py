"""The models, bases, deltas and datasets behind a model, as the statements of their jobs have them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from atlas.bills.origins import COMMIT
from atlas.errors import AtlasError
from atlas.files import read_bounded, read_csv
from atlas.guarded_json import parse_json
from atlas.job.records import Records
from atlas.job.statements import Statement, is_artefact

# Folder -> kind of the things in it, each named by its folder (or file).
PLACES = {"results/sources/bases/": "base", "results/sources/datasets/": "dataset",
          "results/models/": "model", "results/merged/": "merged", "results/deltas/": "delta",
          "results/selection/": "composed"}  # fmt: skip
MODELS = ("model", "merged", "composed", "base")
CHOSEN = "models.csv"  # of a composed model: those of the pool that it is made of


@dataclass
class Thing:
    """A model, base, delta or dataset: all that one job wrote of it. A composed one is task and search.

    :param kind: one of the values of ``PLACES``. :param made: the job.
    :param record: base.json or the dataset's record; empty for others.
    :param config: config.json, where it has one.
    :param behind: what it was made of, by `ref`.
    :param rows: splits and training rows between it and its datasets: path -> SHA-256.
    :param outside: files of the user's own that the job read: path -> SHA-256.
    """

    kind: str
    name: str
    made: Statement
    record: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    behind: list[str] = field(default_factory=list)
    rows: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    commit: str | None = None

    @property
    def ref(self) -> str:
        """What it is called in a bill."""
        return f"{self.kind}/{self.name}"

    @property
    def weights(self) -> dict[str, str]:
        """Its weights, or its rows: path -> SHA-256."""
        wanted = ".jsonl" if self.kind == "dataset" else ".safetensors"
        return {p: d for p, d in sorted(self.made.outputs.items()) if p.endswith(wanted)}

    @property
    def origin(self) -> dict[str, Any]:
        """Where it was fetched from; empty for what was made here."""
        if self.record:
            return dict(self.record.get("origin", {}))
        source = self.made.params.get("source") or {}
        if hub := source.get("hub"):
            return {"hub": {**hub, "commit": self.commit}}
        return dict(source)


def thing_of(path: str) -> tuple[str, str] | None:
    """Kind and name of the thing to which a file belongs."""
    for place, kind in PLACES.items():
        if path.startswith(place):
            name, _, rest = path.removeprefix(place).partition("/")
            if kind == "composed":  # beside them are the models and answers of the task
                search, inside, _ = rest.partition("/")
                return (kind, f"{name}/{search}") if inside else None
            return kind, PurePosixPath(name).stem if kind == "dataset" else name
    return None


def gather(records: Records, roots: Mapping[str, str | None]) -> dict[str, Thing]:
    """All things behind some models, the models first.

    :param roots: a file of the weights of each model -> the statement to go by (None: the newest).
    :raises AtlasError: where one has no statement, or a file that is read is not what a job wrote.
    """
    found: dict[str, Thing] = {}
    queue = [_made(records, path, digest) for path, digest in roots.items()]
    while queue:
        thing = queue.pop(0)
        if thing.ref in found:
            continue
        found[thing.ref] = thing
        above = _above(records, thing)
        thing.behind = sorted({t.ref for t in above})
        queue += above
    for thing in found.values():
        _read(records, thing)
    return found


def _made(records: Records, path: str, digest: str | None) -> Thing:
    made = records.stored(digest) if digest else records.statement(path)
    if made is None or path not in made.outputs:
        raise AtlasError(f"{path}: has no statement; make it with the workflow first.")
    return _thing(path, made)


def _thing(path: str, made: Statement) -> Thing:
    kind, name = thing_of(path) or ("", "")
    return Thing(kind, name, made)


def _above(records: Records, thing: Thing) -> list[Thing]:
    """The nearest things that a thing was made of; what passes between them is noted."""
    found: dict[str, Thing] = {}
    seen: set[str] = set()
    left_out = _not_chosen(records, thing) if thing.kind == "composed" else set()
    queue = [file for file in thing.made.inputs.items() if file[0] not in left_out]
    while queue:
        path, digest = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        if not is_artefact(path):
            thing.outside[path] = digest
            continue
        made = records.maker(path, digest)
        if made is None:
            raise AtlasError(f"{path}: has no statement of the bytes that {thing.made.job} read.")
        named, of_rows = thing_of(path), path.endswith("/rows.jsonl")
        if named and named != (thing.kind, thing.name) and not of_rows:
            found.setdefault(f"{named[0]}/{named[1]}", _thing(path, made))
        else:
            if path.endswith(".jsonl"):
                thing.rows[path] = digest
            queue += made.inputs.items()
    return list(found.values())


def _not_chosen(records: Records, thing: Thing) -> set[str]:
    """What a job that composes read to choose from, and has nothing of: other models, and their ranking."""
    file = next(path for path in thing.made.outputs if path.endswith(f"/{CHOSEN}"))
    _bytes(records, thing.made, file)
    names = {line["model"] for line in read_csv(records.path(file))}
    chosen = {("model", name) for name in names} | {("merged", name) for name in names}
    read = thing.made.input_names.items()
    return {path for path, name in read
            if name == "ranking" or (name == "pool" and thing_of(path) not in chosen)}  # fmt: skip


def _read(records: Records, thing: Thing) -> None:
    """Take what the files beside the weights say of a thing."""
    for path in sorted(thing.made.outputs):
        match PurePosixPath(path).name:
            case "base.json":
                thing.record = _object(records, thing.made, path)
            case "config.json":
                thing.config = _object(records, thing.made, path)
            case "README.md":
                found = COMMIT.search(_bytes(records, thing.made, path).decode())
                thing.commit = found[1] if found else None
            case name if thing.kind == "dataset" and name == f"{thing.name}.json":
                thing.record = _object(records, thing.made, path)


def base_of(thing: Thing, things: Mapping[str, Thing]) -> Thing | None:
    """The nearest base under a model."""
    seen, queue = {thing.ref}, [thing]
    for known in queue:
        if known.kind == "base" and known is not thing:
            return known
        queue += [things[ref] for ref in known.behind if ref not in seen]
        seen |= set(known.behind)
    return None


def read_training(records: Records, thing: Thing) -> list[str]:
    """Lines of training.csv; none for a model that was not trained here."""
    file = next((p for p in thing.made.outputs if p.endswith("/training.csv")), None)
    return _bytes(records, thing.made, file).decode().splitlines() if file else []


def _object(records: Records, made: Statement, path: str) -> dict[str, Any]:
    value = parse_json(_bytes(records, made, path))
    if not isinstance(value, dict):
        raise AtlasError(f"{path}: is no JSON object; make it again.")
    return value


def _bytes(records: Records, made: Statement, path: str) -> bytes:
    """A small file that has the bytes of its statement."""
    place = records.path(path)
    data = read_bounded(place) if place.is_file() else b""
    if hashlib.sha256(data).hexdigest() != made.outputs[path]:
        raise AtlasError(f"{path}: is not what {made.job} made, or is missing; make it again.")
    return data


def short(value: Any) -> str:
    """Twelve digits that tell a value from others."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
