"""Why an artefact would be made again, or was made again the last time."""

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atlas.configuration.files import DEFAULT_FILE
from atlas.errors import AtlasError
from atlas.files import WORKFLOW_FOLDER
from atlas.job.attempts import read_runs
from atlas.job.records import BrokenRecordError, Records
from atlas.job.statements import Statement
from atlas.lineage._dry_run import Command, planned_jobs
from atlas.lineage.causes import Cause, Causes, Find, Group, changed, group, own_causes
from atlas.lineage.file_digests import FileDigests


@dataclass
class Explanation:
    """Why a file would be, or was, rebuilt.

    :param again: whether Snakemake would make it again now.
    :param otherwise: whether Snakemake would not, and it was made otherwise than it would be now, as
        after ``--touch``.
    :param causes: of that; where it is up to date, of its last rebuilding.
    :param rules, jobs: number of jobs that would run by rule, and each with Snakemake's own reason.
    :param previous: SHA-256 of the statement that the present one replaced.
    """

    file: str
    again: bool
    causes: list[Group] = field(default_factory=list)
    rules: dict[str, int] = field(default_factory=dict)
    jobs: list[dict[str, str]] = field(default_factory=list)
    previous: str | None = None
    made: str | None = None
    otherwise: bool = False


def explain(records: Records, file: str, configfiles: Sequence[str] | None = None) -> Explanation:
    """Compare what Snakemake would do now with what was attested; else the last two attestations.

    :param configfiles: to plan with (default: those of the last run).
    :raises AtlasError: for a file that no rule makes.
    """
    command = last_command(records.root)
    if configfiles:
        command = replace(command, configfiles=configfiles)
    planned = planned_jobs(records.root, file, command)
    jobs = [job for job, reason in planned if reason]
    if any(file in job.outputs for job in jobs):
        digests = FileDigests()
        coming = {path for job in jobs for path in job.outputs}
        causes = [(c, file) for job in jobs for c in _why(records, job, coming, digests)]
        return Explanation(
            file, True, group(causes), dict(sorted(Counter(job.rule for job in jobs).items())),
            [{"job": job.job, "reason": reason} for job, reason in planned if reason],
        )  # fmt: skip
    now = records.statement(file)
    if now is None:
        raise AtlasError(f"{file}: no rule makes it, and it has no attestation.")
    found = ((_attested(records, job), job) for job, _ in planned)
    differing = [(c, file) for made, job in found if made for c in own_causes(made, job)]
    if differing:
        return Explanation(file, False, group(differing), made=now.finished, otherwise=True)
    return _last_time(records, file, now)


def _why(
    records: Records, job: Statement, coming: set[str], digests: FileDigests
) -> Iterator[Cause]:
    """Causes of a job's own; what follows from `coming`, made anew by jobs before it, is none."""
    before = _attested(records, job)
    for path in job.outputs:
        found = digests.of(records.path(path))
        passing = before is not None and path in before.temporary
        if found is None and not passing:
            yield Cause("output", path, "missing", None, job.job)
        elif before is None or not records.mirror(path).exists():
            yield Cause("output", path, "without an attestation", None, job.job)
        elif found is not None and found != before.outputs.get(path):
            yield Cause("output", path, "altered since it was made", None, job.job)
    if before is None:
        return
    yield from own_causes(before, job)
    now = {path: digests.of(records.path(path)) for path in job.inputs}
    for path, (a, b) in changed(before.inputs, now).items():
        if b is not None and path not in coming:
            yield Cause("input", path, a, b, job.job)


def _attested(records: Records, job: Statement) -> Statement | None:
    for path in job.outputs:
        with contextlib.suppress(BrokenRecordError):
            if made := records.statement(path):
                return made
    return None


def _last_time(records: Records, file: str, now: Statement) -> Explanation:
    every = list(records.all_statements())
    makers: dict[tuple[str, str], list[Statement]] = defaultdict(list)
    for statement in every:
        for made in statement.outputs.items():
            makers[made].append(statement)

    def find(until: Statement) -> Find:
        def maker(path: str, digest: str) -> Statement | None:
            found = makers.get((path, digest), [])
            earlier = [s for s in found if s.finished <= until.started]
            return max(earlier or found, key=lambda s: s.finished, default=None)

        return maker

    earlier = [s for s in every if file in s.outputs and s.finished < now.finished]
    if not earlier:
        return Explanation(file, False, made=now.finished)
    before = max(earlier, key=lambda s: s.finished)
    causes = Causes(find(before), find(now)).of(before, now)
    return Explanation(file, False, group((cause, file) for cause in causes),
                       previous=before.digest, made=now.finished)  # fmt: skip


def last_command(root: Path) -> Command:
    """What the last run was given."""
    return command_of(root, (read_runs(root) or [{}])[-1])


def command_of(root: Path, run: Mapping[str, Any]) -> Command:
    """The Snakefile, working folder and files beyond the default that a run was given.

    :param run: its record, which anybody may have written.
    """

    def text(key: str, otherwise: str) -> str:
        found = run.get(key)
        return found if isinstance(found, str) else otherwise

    given = run.get("configfiles")
    files = [root / f for f in given if isinstance(f, str)] if isinstance(given, list) else []
    folder = Path(os.path.normpath(root / text("folder", "")))
    default = {WORKFLOW_FOLDER / DEFAULT_FILE, folder.resolve() / DEFAULT_FILE}
    return Command(
        root / text("snakefile", "Snakefile"), folder,
        tuple(str(file) for file in files if file.resolve() not in default),
    )  # fmt: skip
