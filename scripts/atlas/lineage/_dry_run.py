"""What Snakemake would do now, asked of Snakemake itself."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from atlas.deployment import Deployment
from atlas.errors import AtlasError
from atlas.files import WORKFLOW_FOLDER
from atlas.job import deployed
from atlas.job.statements import Statement

PROFILE = Path("profiles/default/config.yaml")


@dataclass(frozen=True)
class Command:
    """What Snakemake is given: a Snakefile, a working folder, and files for ``--configfile``."""

    snakefile: Path
    folder: Path
    configfiles: Sequence[str] = ()


def planned_jobs(root: Path, target: str, command: Command) -> list[tuple[Statement, str | None]]:
    """The jobs behind a target.

    :param root: folder that holds results/.
    :param target: relative to it.
    :returns: what each job would attest (its files have no digests), and Snakemake's own reason to run
        it; None where it would not.
    :raises AtlasError: where Snakemake refuses the configuration or the target.
    """
    with _planning(command, os.path.relpath(root / target, command.folder)) as inner:
        inner._build_dag()
        dag = inner.dag
        jobs = ((job, deployed.of_rule(job.rule)) for job in dag.jobs)
        return [
            (statement_of(job, place), str(dag.reason(job)) if dag.needrun(job) else None)
            for job, place in jobs if place and job.output
        ]  # fmt: skip


def makeable(command: Command, names: Iterable[str]) -> set[str]:
    """Which of some artefacts a configuration could make, whether it asks for them or not.

    :raises AtlasError: where Snakemake refuses the configuration.
    """
    with _planning(command) as inner:
        rules = [(rule, place) for rule in inner.rules if (place := deployed.of_rule(rule))]
        return {
            name for name in names if any(_makes(rule, place.path(name)) for rule, place in rules)
        }


def _makes(rule: Any, path: str) -> bool:
    """Whether a rule makes a file; of many models it takes names by what they look like."""
    if not rule.is_producer(path):
        return False
    plan, wildcards = rule.module_globals["PLAN"], rule.get_wildcards(path)
    return "model" not in wildcards or wildcards["model"] in {*plan.models, *plan.merged}


@contextlib.contextmanager
def _planning(command: Command, *targets: str) -> Iterator[Any]:
    """Snakemake's workflow, read and about to build its DAG.

    Nothing is run or written (the store of parsed modules apart). Snakemake's API builds the DAG
    for its own reports in the same way; it has no public name for it.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings import types as settings
    from snakemake.settings.enums import Quietness, RerunTrigger

    profile = yaml.safe_load((WORKFLOW_FOLDER / PROFILE).read_text(encoding="utf-8"))
    triggers = frozenset(RerunTrigger.parse_choice(t) for t in profile["rerun-triggers"])
    output = settings.OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)
    with SnakemakeApi(output) as api:
        try:
            workflow = api.workflow(
                resource_settings=settings.ResourceSettings(cores=1),
                config_settings=settings.ConfigSettings(
                    configfiles=list(map(Path, command.configfiles))
                ),
                snakefile=command.snakefile,
                workdir=command.folder,
            )
            workflow.dag(
                settings.DAGSettings(
                    targets=set(targets), force_incomplete=True, rerun_triggers=triggers,
                    max_checksum_file_size=profile["max-checksum-file-size"],
                )
            )  # fmt: skip
            inner = workflow._workflow
            inner._prepare_dag(forceall=False, ignore_incomplete=False, lock_warn_only=True)
            yield inner
        except AtlasError:
            raise
        except Exception as error:  # Snakemake raises its own and the Snakefile's exceptions
            text = str(error).strip() or type(error).__name__
            what = " ".join(targets) or " ".join(command.configfiles) or "the default configuration"
            raise AtlasError(f"snakemake cannot plan {what}: {text}") from None


def statement_of(job: Any, place: Deployment) -> Statement:
    """What a job of Snakemake would attest."""
    params = dict(job.params.items())
    code = params.pop("code", {})
    named = {name: value for name, value in job.input.items() if name != "companions"}
    inputs = [p for v in named.values() for p in ([v] if isinstance(v, str) else v)]
    return Statement(
        rule=place.rule_name(job.rule.name),
        wildcards={name: str(value) for name, value in job.wildcards.items()},
        params=json.loads(json.dumps(params)),  # as a statement holds them: tuples are lists
        code=code,
        outputs=dict.fromkeys((place.file_name(str(file)) for file in job.output), ""),
        inputs=dict.fromkeys((place.file_name(str(file)) for file in inputs), ""),
    )
