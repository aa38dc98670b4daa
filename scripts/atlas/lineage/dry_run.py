"""What Snakemake would do now, asked of Snakemake itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from atlas.errors import AtlasError

PROFILE = Path("profiles/default/config.yaml")


@dataclass(frozen=True)
class PlannedJob:
    """A job of the DAG behind a target.

    :param inputs: paths of the attested inputs, with the names that the rule gives them.
    :param params: as the job would see them, ``code`` among them.
    :param again: whether it would run.
    :param reason: Snakemake's own words.
    """

    rule: str
    wildcards: dict[str, str]
    outputs: tuple[str, ...]
    inputs: dict[str, str]
    params: dict[str, Any]
    again: bool
    reason: str

    @property
    def job(self) -> str:
        """The job in words."""
        return " ".join([self.rule, *(v for _, v in sorted(self.wildcards.items()))])


def planned_jobs(root: Path, target: str, configfiles: Sequence[str]) -> list[PlannedJob]:
    """All jobs of the DAG behind a target, those that need not run included.

    Nothing is run or written. Snakemake's API builds the DAG for its own reports in the same way;
    it has no public name for it.

    :param root: folder of the Snakefile.
    :param configfiles: as given to ``--configfile``, relative to the root.
    :raises AtlasError: where Snakemake refuses the configuration or the target.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings.enums import Quietness, RerunTrigger
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        OutputSettings,
        ResourceSettings,
    )

    profile = yaml.safe_load((root / PROFILE).read_text(encoding="utf-8"))
    triggers = frozenset(RerunTrigger.parse_choice(t) for t in profile["rerun-triggers"])
    output = OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)
    with SnakemakeApi(output) as api:
        try:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=[root / f for f in configfiles]),
                snakefile=root / "Snakefile",
                workdir=root,
            )
            workflow.dag(
                DAGSettings(
                    targets={target}, force_incomplete=True, rerun_triggers=triggers,
                    max_checksum_file_size=profile["max-checksum-file-size"],
                )
            )  # fmt: skip
            inner = workflow._workflow
            inner._prepare_dag(forceall=False, ignore_incomplete=False, lock_warn_only=True)
            inner._build_dag()
            return [_job(inner.dag, job) for job in inner.dag.jobs]
        except AtlasError:
            raise
        except Exception as error:  # Snakemake raises its own and the Snakefile's exceptions
            text = str(error).strip() or type(error).__name__
            raise AtlasError(f"snakemake cannot plan {target}: {text}") from None


def _job(dag: Any, job: Any) -> PlannedJob:
    inputs: dict[str, str] = {}
    for name, value in job.input.items():
        if name != "companions":
            for path in [value] if isinstance(value, str) else value:
                inputs.setdefault(str(path), name)
    return PlannedJob(
        rule=job.rule.name,
        wildcards={k: str(v) for k, v in job.wildcards.items()},
        outputs=tuple(map(str, job.output)),
        inputs=inputs,
        params=dict(job.params.items()),
        again=dag.needrun(job),
        reason=str(dag.reason(job)),
    )
