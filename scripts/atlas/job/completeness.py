"""An output without its statement is no output, and one that was altered since is none either.

Snakemake keeps no digest of what it made. It asks its records which outputs are incomplete, to
make those again; here it is told of two more kinds.
"""

from pathlib import Path
from typing import Any

from atlas.digests import sha256_file
from atlas.job.records import BrokenRecordError, Records
from atlas.job.replaced import replace
from atlas.job.statements import pointer_to


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
    async def incomplete(self: Any, job: Any) -> list[Any]:
        found = await marked(self, job)
        for file in job.output:
            if file in found or not Path(file).is_file():
                continue
            record = self.metadata(file)
            if not is_complete(str(file), record.endtime if record else None):
                found.append(file)
        return found

    return incomplete
