"""What ``snakemake --touch`` takes as made, though it was made otherwise than it would be now.

Snakemake notes the present params for files that it touches, and knows of no difference from then on;
their statements still say how they were made.
"""

import contextlib
from pathlib import Path
from typing import Any

from atlas.job import deployed
from atlas.job.records import BrokenRecordError, Records
from atlas.lineage._dry_run import statement_of
from atlas.lineage.causes import own_causes


def touched(workflow: Any, records: Records) -> dict[str, dict[str, Any]]:
    """Of a run that touches files: each of them with its statement, and how it would be made now.

    :param workflow: Snakemake's, its DAG built.
    :returns: artefact -> digest of its statement, and differences as (kind, name, before, after).
    """
    found: dict[str, dict[str, Any]] = {}
    for job in workflow.dag.needrun_jobs():
        place = deployed.of_rule(job.rule)
        if place is None or records.root != Path(place.root).resolve():
            continue
        planned = statement_of(job, place)
        for name in planned.outputs:
            with contextlib.suppress(BrokenRecordError):
                if made := records.statement(name):
                    causes = own_causes(made, planned)
                    found[name] = {
                        "statement": made.digest,
                        "otherwise": [[c.kind, c.name, c.before, c.after] for c in causes],
                    }
    return found
