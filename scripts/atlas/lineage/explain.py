"""Why an artefact would be made again, or was made again the last time."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.job.attempts import ATTEMPTS, RUN_FILE
from atlas.job.records import BrokenRecordError, Records
from atlas.job.statements import Statement
from atlas.lineage.causes import Cause, Causes, Group, changed, group, own_causes, plain
from atlas.lineage.dry_run import PlannedJob, planned_jobs
from atlas.lineage.findings import Digests


@dataclass
class Explanation:
    """Why a file would be, or was, rebuilt.

    :param again: whether Snakemake would make it again now.
    :param causes: of that; where it is up to date, of its last rebuilding.
    :param rules: rule -> number of jobs that would run.
    :param jobs: those jobs, with Snakemake's own reason.
    :param previous: SHA-256 of the statement that the present one replaced.
    """

    file: str
    again: bool
    causes: list[Group] = field(default_factory=list)
    rules: dict[str, int] = field(default_factory=dict)
    jobs: list[dict[str, str]] = field(default_factory=list)
    previous: str | None = None
    made: str | None = None


def explain(records: Records, file: str, configfiles: Sequence[str]) -> Explanation:
    """Compare what Snakemake would do now with what was attested; else the last two attestations.

    :param configfiles: configuration files to plan with, relative to the root.
    :raises AtlasError: for a file that no rule makes.
    """
    jobs = planned_jobs(records.root, file, configfiles)
    again = [job for job in jobs if job.again]
    target = [job for job in again if file in job.outputs]
    if target:
        digests = Digests()
        coming = {path for job in again for path in job.outputs}
        causes = [(c, file) for job in again for c in _why(records, job, coming, digests)]
        return Explanation(
            file, True, group(causes), dict(sorted(Counter(job.rule for job in again).items())),
            [{"job": job.job, "reason": job.reason} for job in again],
        )  # fmt: skip
    now = records.statement(file)
    if now is None:
        raise AtlasError(f"{file}: no rule makes it, and it has no attestation.")
    return _last_time(records, file, now)


def _why(records: Records, job: PlannedJob, coming: set[str], digests: Digests) -> Iterator[Cause]:
    """Causes of a job's own; what follows from a job before it has none.

    :param coming: files that jobs before it would make anew.
    """
    before = _attested(records, job)
    policy = before.temporary if before else {}
    missing = [p for p in job.outputs if not records.path(p).is_file() and p not in policy]
    for path in job.outputs:
        if path in missing:
            yield Cause("output", path, "missing", None, job.job)
        elif before is None or not records.mirror(path).exists():
            yield Cause("output", path, "without an attestation", None, job.job)
        elif path in policy and not records.path(path).is_file():
            continue  # was deleted once it was read
        elif digests.of(records.path(path)) != before.outputs.get(path):
            yield Cause("output", path, "altered since it was made", None, job.job)
    if before is None:
        return
    now = _as_statement(job, {p: digests.of(records.path(p)) for p in job.inputs})
    yield from own_causes(before, now)
    for path, (a, b) in changed(before.inputs, now.inputs).items():
        if b is not None and path not in coming:
            yield Cause("input", path, a, b, job.job)


def _attested(records: Records, job: PlannedJob) -> Statement | None:
    for path in job.outputs:
        with contextlib.suppress(BrokenRecordError):
            if made := records.statement(path):
                return made
    return None


def _as_statement(job: PlannedJob, inputs: dict[str, str | None]) -> Statement:
    """A planned job in the form of an attestation, to be compared with one."""
    params = {name: value for name, value in job.params.items() if name != "code"}
    return Statement(
        rule=job.rule, wildcards=job.wildcards, params=plain(params), code=job.params["code"],
        outputs={}, output_names={}, inputs={p: d for p, d in inputs.items() if d}, input_names={},
        temporary={}, packages={}, execution={}, started="", finished="", run="",
    )  # fmt: skip


def _last_time(records: Records, file: str, now: Statement) -> Explanation:
    every = list(records.all_statements())
    makers: dict[tuple[str, str], list[Statement]] = {}
    for statement in every:
        for path, digest in statement.outputs.items():
            makers.setdefault((path, digest), []).append(statement)

    def find(until: Statement) -> Any:
        def made(path: str, digest: str) -> Statement | None:
            found = makers.get((path, digest), [])
            earlier = [s for s in found if s.finished <= until.started]
            return max(earlier or found, key=lambda s: s.finished, default=None)

        return made

    earlier = [s for s in every if file in s.outputs and s.finished < now.finished]
    if not earlier:
        return Explanation(file, False, made=now.finished)
    before = max(earlier, key=lambda s: s.finished)
    causes = Causes(find(before), find(now)).of(before, now)
    return Explanation(file, False, group((cause, file) for cause in causes),
                       previous=before.digest, made=now.finished)  # fmt: skip


def last_configfiles(root: Path) -> list[str]:
    """Configuration files that the last run was given beyond the default."""
    runs = []
    for file in (root / ATTEMPTS).glob(f"*/{RUN_FILE}"):
        try:
            runs.append(json.loads(file.read_text(encoding="utf-8")))
        except ValueError:
            continue
    if not runs:
        return []
    latest = max(runs, key=lambda run: str(run["started"]))
    return [f for f in latest["configfiles"] if Path(f) != Path("config/config.yaml")]
