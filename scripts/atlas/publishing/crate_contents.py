"""What belongs into a crate, and putting it there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import copy, json_bytes, link, read_json, write_bytes
from atlas.job.attempts import ATTEMPTS, RUN_FILE, slug
from atlas.job.records import Records
from atlas.job.statements import RESULTS, STATEMENTS, Statement
from atlas.lineage.crate_files import Entry

README = "README.md"  # a crate has one, also where the workflow has none
# The workflow itself, as far as it is there.
WORKFLOW = ("Snakefile", "rules", "scripts", "config", "profiles", "slurm", "resources", "envs",
            "notebooks", "docs", README, "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff",
            "LICENSE")  # fmt: skip
NO_WORKFLOW = re.compile(r"__pycache__|.*\.pyc|\..*")
CONFIGURATION = "configuration"
MERGED = f"{CONFIGURATION}/merged.json"


@dataclass
class Contents:
    """All that a crate holds.

    :param target: path of the artefact that the crate is about.
    :param jobs: statements of all jobs behind it, each after those whose outputs it read.
    :param artefacts: path -> entry of each output and each input of these jobs.
    :param workflow: entries of the workflow's own files.
    :param records: entries of statements, and of what was typed.
    :param runs: identity of a run -> what its record says (command, configuration, user ...).
    """

    target: str
    jobs: list[Statement]
    artefacts: dict[str, Entry] = field(default_factory=dict)
    workflow: dict[str, Entry] = field(default_factory=dict)
    records: dict[str, Entry] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def made_by(self) -> dict[str, Statement]:
        """Path -> the job that wrote it."""
        return {path: job for job in self.jobs for path in job.outputs}

    def user(self, run: str) -> str:
        """Account that gave the command of a run."""
        return str(self.runs.get(run, {}).get("user") or "unknown")


def jobs_behind(records: Records, names: Iterable[str]) -> list[Statement]:
    """Statements of all jobs behind artefacts, each after those whose outputs it read.

    The order hangs on the jobs alone, not on the clocks of the machines that did them.

    :raises AtlasError: where an artefact has no statement, or a job read other bytes than the
        statement of the file says.
    """
    jobs: dict[str, Statement] = {}
    before: dict[str, set[str]] = {}
    queue = [(name, "the target of the crate") for name in names]
    while queue:
        name, why = queue.pop()
        made = records.statement(name)
        if made is None:
            raise AtlasError(
                f"{name}: has no statement ({why}), so nothing is known of where it came from; "
                "make it with the workflow first."
            )
        if made.digest in jobs:
            continue
        jobs[made.digest], before[made.digest] = made, set()
        for path, digest in made.inputs.items():
            if not path.startswith(f"{RESULTS}/"):
                continue
            source = records.statement(path)
            if source is not None and source.outputs[path] != digest:
                raise AtlasError(
                    f"{path}: {made.job} read another version of it than the one of its statement; "
                    f"make {min(made.outputs)} again."
                )
            if source is not None:
                before[made.digest].add(source.digest)
            queue.append((path, f"{made.job} read it"))
    sorter = TopologicalSorter(before)
    sorter.prepare()
    ordered: list[Statement] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        ordered += sorted((jobs[d] for d in ready), key=lambda s: (s.job, s.digest))
        sorter.done(*ready)
    return ordered


def is_included(path: str, made: Statement | None) -> bool:
    """Whether a file goes into a crate itself: downloaded weights do not, nor files elsewhere."""
    place = PurePosixPath(path)
    if made is not None:
        return place.suffix != ".safetensors" or not made.rule.startswith("fetch_")
    outside = place.is_absolute() or ".." in place.parts or path.startswith("~")
    return not outside and place.suffix != ".safetensors"


def gather(records: Records, target: str, companions: Iterable[str]) -> Contents:
    """Find the jobs behind a target and what is known of their runs."""
    contents = Contents(target, jobs_behind(records, [target, *companions]))
    for job in contents.jobs:
        file = records.root / ATTEMPTS / slug(job.run) / RUN_FILE
        if job.run not in contents.runs and file.is_file():
            contents.runs[job.run] = read_json(file)
    return contents


def fill(records: Records, contents: Contents, source: Path, folder: Path) -> None:
    """Put everything into the crate's folder, and note the digest and size of each file.

    :param source: folder of the Snakefile.
    :raises AtlasError: where a file is missing or is not what its statement says.
    """
    for name in _workflow_files(source):
        contents.workflow[name] = _copied(source / name, folder, name)
    run = contents.runs.get(contents.made_by[contents.target].run, {})
    for name, file in _configuration_files(run, records.root):
        contents.workflow[name] = _copied(file, folder, name)
    if "configuration" in run:
        contents.workflow[MERGED] = _written(json_bytes(run["configuration"]), folder, MERGED)
    if README not in contents.workflow:
        about = f"# {contents.target}\n\nIt, all that stands behind it, and how it came about.\n"
        contents.workflow[README] = _written(about.encode(), folder, README)
    made_by = contents.made_by
    for job in contents.jobs:
        for path, digest in {**job.inputs, **job.outputs}.items():
            if path not in contents.artefacts:
                entry = _artefact(records, folder, path, digest, made_by.get(path))
                contents.artefacts[path] = entry
            if contents.artefacts[path].sha256 != digest:
                raise AtlasError(
                    f"{path}: is not what {job.job} read; make {min(job.outputs)} again."
                )
        name = f"{STATEMENTS}/{job.digest[:2]}/{job.digest}.json"
        contents.records[name] = _linked(records.root / name, folder, name)
        for path in job.outputs:
            pointer = records.mirror(path).relative_to(records.root)
            _linked(records.root / name, folder, pointer.as_posix())
    for identity in sorted(contents.runs):
        name = (ATTEMPTS / slug(identity) / RUN_FILE).as_posix()
        contents.records[name] = _linked(records.root / name, folder, name)


def clear(folder: Path, keep: Path) -> None:
    """Empty the folder of an earlier crate, so that nothing of it stays.

    :param keep: the place of the metadata, where the job writes it.
    """
    for entry in folder.iterdir():
        if entry == keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _artefact(
    records: Records, folder: Path, path: str, digest: str, made: Statement | None
) -> Entry:
    place = records.path(path)
    if not place.is_file():
        if made and path in made.temporary:
            return Entry(path, digest, made.temporary[path], included=False)
        raise AtlasError(f"{path}: is missing; make it again, and then the crate.")
    found = sha256_file(place)
    if found != digest:
        said = f"its statement says {digest[:12]}…" if made else f"{digest[:12]}… was read"
        raise AtlasError(
            f"{path}: was altered: its SHA-256 is {found[:12]}…, and {said}; it is not put into a "
            "crate, make it again."
        )
    if not is_included(path, made):
        return Entry(path, digest, place.stat().st_size, included=False)
    target = _make_room(folder / path)
    # Sources are their owner's and may be changed in their place; artefacts are only replaced.
    link(place, target) if made else copy(place, target)
    return Entry(path, digest, place.stat().st_size)


def _workflow_files(source: Path) -> Iterator[str]:
    for part in WORKFLOW:
        files = [source / part] if (source / part).is_file() else (source / part).rglob("*")
        for file in sorted(files):
            relative = file.relative_to(source)
            if file.is_file() and not any(NO_WORKFLOW.fullmatch(p) for p in relative.parts):
                yield relative.as_posix()


def _configuration_files(run: dict[str, Any], root: Path) -> Iterator[tuple[str, Path]]:
    """Configuration files of a run that are still there: (place in the crate, file)."""
    for number, name in enumerate(run.get("configfiles", [])):
        file = root / Path(name).expanduser()
        if not file.is_file():
            continue
        inside = file.resolve().is_relative_to(root)
        relative = file.resolve().relative_to(root).as_posix() if inside else ""
        yield relative or f"{CONFIGURATION}/{number}-{file.name}", file


def _copied(file: Path, folder: Path, name: str) -> Entry:
    copy(file, _make_room(folder / name))
    return _entry(folder / name, name)


def _written(data: bytes, folder: Path, name: str) -> Entry:
    write_bytes(_make_room(folder / name), data)
    return _entry(folder / name, name)


def _linked(file: Path, folder: Path, name: str) -> Entry:
    link(file, _make_room(folder / name))
    return _entry(folder / name, name)


def _entry(file: Path, name: str) -> Entry:
    return Entry(name, sha256_file(file), file.stat().st_size)


def _make_room(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def record_of(folder: Path, path: str) -> dict[str, Any]:
    """A record such as base.json, from the crate's folder."""
    value = json.loads((folder / path).read_bytes())
    return value if isinstance(value, dict) else {}
