"""Planning a finished target: this workflow against a bare Snakefile, two ways in turns.

    python bench/planning.py [results/tables/main.csv] [--pairs 5] [--finished FOLDER]

The bare Snakefile has the same rules, and the same jobs with the same files and params, all of it
written out: nothing reads a configuration, and no library is behind it. Where no finished checkout
is given, all outputs are there as empty files, recorded as Snakemake records its own. Processor
time (user and system) of `snakemake -n`, which must find nothing to do either way.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

from large_pools import PARTS, ROOT, Cost, measure, pretend

HEAD = """import json

with open({table!r}) as handle:
    TABLE = json.load(handle)


def of_job(rule, part, name):
    return lambda wildcards: TABLE["jobs"][rule][" ".join(wildcards)][part][name]
"""


def workflow_of(folder: Path, target: str) -> Any:
    """This workflow with the DAG of a target, as Snakemake's own API builds it."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings import types as settings
    from snakemake.settings.enums import Quietness, RerunTrigger

    profile = yaml.safe_load((folder / "profiles/default/config.yaml").read_text())
    output = settings.OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)
    with SnakemakeApi(output) as api:
        workflow = api.workflow(
            resource_settings=settings.ResourceSettings(cores=1),
            snakefile=folder / "Snakefile",
            workdir=folder,
        )
        triggers = frozenset(RerunTrigger.parse_choice(t) for t in profile["rerun-triggers"])
        workflow.dag(settings.DAGSettings(targets={target}, rerun_triggers=triggers))
        inner = workflow._workflow
        inner._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
        inner._build_dag()
        return inner


def plain(value: Any) -> Any:
    """Paths as text, without the constraints that Snakemake has put into them."""
    from snakemake.io import strip_wildcard_constraints

    if isinstance(value, str):
        return strip_wildcard_constraints(str(value))
    return [plain(item) for item in value]


def line_of(rule: str, part: str, name: str, value: Any) -> str:
    """An input as it stands in the bare Snakefile: written out, or looked up where it hangs on the job."""
    from snakemake.io import is_callable, is_flagged

    items = [value] if isinstance(value, str) or callable(value) else list(value)
    computed = any(map(is_callable, items))
    text = f"of_job({rule!r}, {part!r}, {name!r})" if computed else repr(plain(value))
    if any(is_flagged(item, "ancient") for item in items):
        text = f"ancient({text})"
    return f"{name}={text},"


def write_bare(workflow: Any, folder: Path) -> Path:
    """Write all rules with what they say, and the jobs of the DAG with what was computed for them."""
    table: dict[str, Any] = {"jobs": {}, "params": {}}
    for job in workflow.dag.jobs:
        table["jobs"].setdefault(job.rule.name, {})[" ".join(map(str, job.wildcards))] = {
            "input": {name: plain(value) for name, value in job.input.items()},
            "params": dict(job.params.items()),
        }
    constraints = workflow.modifier.wildcard_constraints.items()
    blocks = [HEAD.format(table=str(folder / "bare.json")), "wildcard_constraints:"]
    blocks[-1] += "".join(f"\n    {name}={pattern!r}," for name, pattern in constraints)
    for rule in workflow.rules:
        if not rule.output:
            continue
        params = {name: value for name, value in rule.params.items() if not callable(value)}
        table["params"][rule.name] = params
        said = {
            "input": [line_of(rule.name, "input", *item) for item in rule.input.items()],
            "output": [f"{name}={plain(value)!r}," for name, value in rule.output.items()],
            "log": [f"{plain(rule.log[0])!r},"],
            "benchmark": [f"{plain(rule.benchmark)!r}"],
            "wildcard_constraints": [
                f"{name}={pattern!r}," for name, pattern in rule.wildcard_constraints.items()
            ],
            "conda": [f"{str(folder / 'envs/atlas.yaml')!r}"],
            "threads": ["1"],
            "resources": ["mem_mb=2000,", "runtime=30,", "gpu=0,"],
            "params": [
                f'{name}=TABLE["params"]["{rule.name}"]["{name}"],'
                if name in params
                else f'{name}=of_job("{rule.name}", "params", "{name}"),'
                for name, _ in rule.params.items()
            ],
            "message": [f"{rule.message!r}"],
            "script": [f"{str(folder / 'scripts/job.py')!r}"],
        }
        lines = [f"rule {rule.name}:"]
        for part, entries in said.items():
            if entries:
                lines += [f"    {part}:", *(f"        {entry}" for entry in entries)]
        blocks.append("\n".join(lines))
    (folder / "bare.json").write_text(json.dumps(table))
    bare = folder / "bare.smk"
    bare.write_text("\n\n\n".join(blocks) + "\n")
    return bare
