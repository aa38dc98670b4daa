"""What a run has to make: an output without its statement, or altered since, is none.

Snakemake keeps no digest of what it made. It asks its records which outputs are incomplete, to
make those again; here it is told of two more kinds. And it is kept from leaving out what is behind
an ``ancient`` input that is made again, and from making again what is older than a script.
"""

import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from atlas.digests import sha256_file
from atlas.job import deployed
from atlas.job.records import BrokenRecordError, Records
from atlas.job.replaced import replace
from atlas.job.statements import RESULTS, pointer_to


def is_complete(name: str, mtime: float | None, root: Path = Path()) -> bool:
    """Whether an output that exists is what its statement says.

    :param name: path relative to the root.
    :param mtime: time stamp (seconds) that Snakemake noted when the job ended: a file that still
        has it is taken as it is, another is read (`lineage.py verify` reads them all).
    """
    place = root / name
    if not (root / pointer_to(name)).exists():
        return False
    if mtime is not None and place.stat().st_mtime == mtime:
        return True
    try:
        made = Records(root).statement(name)
    except BrokenRecordError:
        return False
    return made is not None and made.outputs[name] == sha256_file(place)


def demand_statements() -> None:
    """Let Snakemake take outputs that are not complete as incomplete, in dry runs too."""
    from snakemake.persistence import PersistenceBase

    replace(PersistenceBase, "incomplete", _demanding)


def _demanding(marked: Any) -> Any:
    from snakemake.exceptions import WorkflowError

    async def incomplete(self: Any, job: Any) -> list[Any]:
        found = await marked(self, job)
        place = deployed.of_rule(job.rule)
        for file in job.output if place else ():
            if Path(file).is_dir():
                raise WorkflowError(f"{file}: is a folder, and a file is made there; move it away.")
            if file in found or not Path(file).is_file():
                continue
            record = self.metadata(file)
            name, root = place.file_name(str(file)), Path(place.root)
            if not is_complete(name, record.endtime if record else None, root):
                found.append(file)
        return found

    return incomplete


def plan_behind_ancient() -> None:
    """Let Snakemake look at each job that only ``ancient`` inputs connect with one that has to run.

    Snakemake 9 does not look at jobs behind one that has to run, for they have to run as well, but
    then does not take them either, where all that connects the two is ancient and there: a run ends
    well without what was asked for.
    """
    from snakemake.dag import DAG

    replace(DAG, "update_needrun", _looking_behind)


def _looking_behind(plain: Any) -> Any:
    from snakemake.exceptions import WorkflowError

    async def update_needrun(self: Any, *args: Any, **settings: Any) -> Any:
        if _refused:
            raise WorkflowError(_refused[0])
        self.bfs = _without_ancient
        try:
            return await plain(self, *args, **settings)
        finally:
            del self.bfs

    return update_needrun


def _without_ancient(
    depending: Mapping[Any, Mapping[Any, Iterable[Any]]], job: Any
) -> Iterator[Any]:
    """A job and all that depend on it by an input whose time counts."""
    queue, seen = [job], {job}
    while queue:
        yield (one := queue.pop())
        behind = {other for other, files in depending[one].items()
                  if not all(file.is_ancient for file in files)}  # fmt: skip
        queue += behind - seen
        seen |= behind


_refused: list[str] = []  # sentences of this run


def count_refusal(name: str, source: Mapping[str, Any], sentence: str, root: Path) -> None:
    """Remember that a user's own files were refused, where an artefact was made of other ones.

    Snakemake takes a file that is there as it is, where the job that makes it cannot be planned: rightly
    where its source was removed since, and wrongly where the configuration names another now.

    :param name: of the artefact. :param source: of the configuration.
    """
    try:
        made = Records(root).statement(name)
    except BrokenRecordError:
        made = None
    if made is None or made.params.get("source") != source:
        _refused.append(sentence)


def leave_code_to_params() -> None:
    """Let no time stamp of the script of our rules count: a param holds the code behind each.

    A profile says so of a whole run; a module has no profile, and each version of it a checkout of its own.
    """
    from snakemake.jobs import Job

    replace(Job, "outputs_older_than_script_or_notebook", _but_ours)


def _but_ours(plain: Any) -> Any:
    async def outputs_older_than_script_or_notebook(self: Any) -> AsyncIterator[Any]:
        if not deployed.of_rule(self.rule):
            async for file in plain(self):
                yield file

    return outputs_older_than_script_or_notebook


def leave_clocks_to_content() -> None:
    """Let no job that is done be undone because an input is dated later, by a clock that was set back.

    What was made of which bytes is attested, and bytes are compared before anything is made again.
    """
    from snakemake.dag import DAG

    replace(DAG, "check_output_mtime", _of_others)


def _of_others(plain: Any) -> Any:
    async def check_output_mtime(self: Any, job: Any, expanded_output: Any) -> None:
        if not deployed.of_rule(job.rule):
            await plain(self, job, expanded_output)

    return check_output_mtime


def settle_clock(files: Iterable[Any], root: Path) -> None:
    """Give artefacts of a clock that went ahead the time of now, or what is made of them seems outdated.

    :param files: inputs of jobs.
    """
    now, results = time.time(), root / RESULTS
    for file in map(Path, set(files)):  # many jobs read the same
        if file.is_relative_to(results) and file.exists() and file.stat().st_mtime > now:
            os.utime(file, (now, now))


def missing(targets: Iterable[Any]) -> list[str]:
    """Targets that are not there, sorted."""
    return sorted(str(target) for target in targets if not Path(target).is_file())
