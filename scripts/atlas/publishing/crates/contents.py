"""What belongs into a crate, and putting it there."""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import copy, link, read_json, typed_path, write_bytes, write_json
from atlas.job.attempts import run_file
from atlas.job.records import Records
from atlas.job.statements import Statement, is_artefact, place_of, pointer_to
from atlas.lineage.crate_files import CrateFile, is_included

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

    :param jobs: statements of all jobs behind it, each after those whose outputs it read.
    :param runs: identity of a run -> what its record says (command, configuration, user ...).
    :param artefacts, workflow, records: path -> entry of each output and input of these jobs, of
        each file of the workflow, and of each statement and of what was typed.
    """

    target: str
    jobs: list[Statement]
    runs: dict[str, dict[str, Any]]
    artefacts: dict[str, CrateFile] = field(default_factory=dict)
    workflow: dict[str, CrateFile] = field(default_factory=dict)
    records: dict[str, CrateFile] = field(default_factory=dict)

    @cached_property
    def made_by(self) -> dict[str, Statement]:
        """Path -> the job that wrote it."""
        return {path: job for job in self.jobs for path in job.outputs}

    @property
    def run(self) -> dict[str, Any]:
        """What is known of the run that made the target."""
        return self.runs.get(self.made_by[self.target].run, {})


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
        for path in filter(is_artefact, made.inputs):
            if source := records.statement(path):
                if source.outputs[path] != made.inputs[path]:
                    raise AtlasError(
                        f"{path}: {made.job} read another version of it than the one of its "
                        f"statement; make {min(made.outputs)} again."
                    )
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


def gather(records: Records, target: str, companions: Iterable[str]) -> Contents:
    """Find the jobs behind a target and what is known of their runs."""
    jobs = jobs_behind(records, [target, *companions])
    files = {job.run: records.root / run_file(job.run) for job in jobs}
    runs = {run: read_json(file) for run, file in files.items() if file.is_file()}
    return Contents(target, jobs, runs)


def fill(records: Records, contents: Contents, source: Path, folder: Path) -> None:
    """Put everything into the crate's folder, and note the digest and size of each file.

    :raises AtlasError: where a file is missing or is not what its statement says.
    """

    def put(name: str, make: Callable[[Path], None]) -> CrateFile:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        make(place)
        return CrateFile(name, sha256_file(place), place.stat().st_size)

    workflow, run = contents.workflow, contents.run
    files = [*_workflow_files(source), *_configuration_files(run, records.root)]
    for name, file in files:
        workflow[name] = put(name, partial(copy, file))
    if "configuration" in run:
        workflow[MERGED] = put(MERGED, partial(write_json, value=run["configuration"]))
    if README not in workflow:
        about = f"# {contents.target}\n\nIt, all that stands behind it, and how it came about.\n"
        workflow[README] = put(README, partial(write_bytes, data=about.encode()))
    for job in contents.jobs:
        for path, digest in {**job.inputs, **job.outputs}.items():
            if path not in contents.artefacts:
                made = contents.made_by.get(path)
                contents.artefacts[path] = _artefact(records, folder, path, digest, made)
            if contents.artefacts[path].sha256 != digest:
                raise AtlasError(
                    f"{path}: is not what {job.job} read; make {min(job.outputs)} again."
                )
        name = place_of(job.digest)
        contents.records[name] = put(name, partial(link, records.root / name))
        for path in job.outputs:
            put(pointer_to(path), partial(link, records.root / name))
    for identity in sorted(contents.runs):
        name = run_file(identity).as_posix()
        contents.records[name] = put(name, partial(link, records.root / name))


def clear(folder: Path, keep: Path) -> None:
    """Empty the folder of an earlier crate, so that nothing of it stays."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != keep:
            entry.unlink()


def _artefact(
    records: Records, folder: Path, path: str, digest: str, made: Statement | None
) -> CrateFile:
    place = records.path(path)
    if not place.is_file():
        if made and path in made.temporary:
            return CrateFile(path, digest, made.temporary[path], included=False)
        raise AtlasError(f"{path}: is missing; make it again, and then the crate.")
    found = sha256_file(place)
    if found != digest:
        said = f"its statement says {digest[:12]}…" if made else f"{digest[:12]}… was read"
        raise AtlasError(
            f"{path}: was altered: its SHA-256 is {found[:12]}…, and {said}; it is not put into a "
            "crate, make it again."
        )
    if not is_included(path, made):
        return CrateFile(path, digest, place.stat().st_size, included=False)
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    # Sources are their owner's and may be changed in their place; artefacts are only replaced.
    link(place, target) if made else copy(place, target)
    return CrateFile(path, digest, place.stat().st_size)


def _workflow_files(source: Path) -> Iterator[tuple[str, Path]]:
    """The workflow's own files: (place in the crate, file)."""
    for part in WORKFLOW:
        files = [source / part] if (source / part).is_file() else (source / part).rglob("*")
        for file in sorted(files):
            relative = file.relative_to(source)
            if file.is_file() and not any(NO_WORKFLOW.fullmatch(p) for p in relative.parts):
                yield relative.as_posix(), file


def _configuration_files(run: dict[str, Any], root: Path) -> Iterator[tuple[str, Path]]:
    """Configuration files of a run that are still there: (place in the crate, file)."""
    for number, name in enumerate(run.get("configfiles", [])):
        file = root / typed_path(name)
        if file.is_file():
            place = file.resolve()
            inside = place.relative_to(root).as_posix() if place.is_relative_to(root) else ""
            yield inside or f"{CONFIGURATION}/{number}-{file.name}", file
