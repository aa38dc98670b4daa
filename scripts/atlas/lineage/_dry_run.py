"""What Snakemake would do now, asked of Snakemake itself."""

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from atlas.errors import AtlasError
from atlas.job.statements import Statement

PROFILE = Path("profiles/default/config.yaml")


def planned_jobs(
    root: Path, target: str, configfiles: Sequence[str]
) -> list[tuple[Statement, str]]:
    """The jobs that would run for a target.

    :param root: folder of the Snakefile.
    :param configfiles: as given to ``--configfile``, relative to the root.
    :returns: what each job would attest (its files have no digests), and Snakemake's own reason.
    :raises AtlasError: where Snakemake refuses the configuration or the target.
    """
    with _planning(root, configfiles, target) as inner:
        inner._build_dag()
        dag = inner.dag
        return [(_statement(j), str(dag.reason(j))) for j in dag.jobs if dag.needrun(j)]


def makeable(root: Path, configfiles: Sequence[str], names: Iterable[str]) -> set[str]:
    """Which of some artefacts a configuration could make, whether it asks for them or not.

    :raises AtlasError: where Snakemake refuses the configuration.
    """
    with _planning(root, configfiles) as inner:
        plan = inner.globals["PLAN"]
        known = {"model": {*plan.models, *plan.merged}}
        return {name for name in names if any(_makes(rule, name, known) for rule in inner.rules)}


def _makes(rule: Any, name: str, known: Mapping[str, Collection[str]]) -> bool:
    """Whether a rule makes a file; of many models it takes names by what they look like."""
    if not rule.is_producer(name):
        return False
    wildcards = rule.get_wildcards(name)
    return all(wildcards[key] in known[key] for key in known if key in wildcards)


@contextlib.contextmanager
def _planning(root: Path, configfiles: Sequence[str], *targets: str) -> Iterator[Any]:
    """Snakemake's workflow, read and about to build its DAG.

    Nothing is run or written (the store of parsed modules apart). Snakemake's API builds the DAG
    for its own reports in the same way; it has no public name for it.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings import types as settings
    from snakemake.settings.enums import Quietness, RerunTrigger

    profile = yaml.safe_load((root / PROFILE).read_text(encoding="utf-8"))
    triggers = frozenset(RerunTrigger.parse_choice(t) for t in profile["rerun-triggers"])
    output = settings.OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)
    with SnakemakeApi(output) as api:
        try:
            workflow = api.workflow(
                resource_settings=settings.ResourceSettings(cores=1),
                config_settings=settings.ConfigSettings(
                    configfiles=[root / f for f in configfiles]
                ),
                snakefile=root / "Snakefile",
                workdir=root,
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
            what = " ".join(targets) or " ".join(configfiles) or "the default configuration"
            raise AtlasError(f"snakemake cannot plan {what}: {text}") from None


def _statement(job: Any) -> Statement:
    params = dict(job.params.items())
    code = params.pop("code", {})
    named = {name: value for name, value in job.input.items() if name != "companions"}
    inputs = [p for v in named.values() for p in ([v] if isinstance(v, str) else v)]
    return Statement(
        rule=job.rule.name,
        wildcards={name: str(value) for name, value in job.wildcards.items()},
        params=json.loads(json.dumps(params)),  # as a statement holds them: tuples are lists
        code=code,
        outputs=dict.fromkeys(map(str, job.output), ""),
        inputs=dict.fromkeys(map(str, inputs), ""),
    )
