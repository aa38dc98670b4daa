"""Planning with nothing to do: this workflow against a bare Snakefile, two ways in turns.

    python bench/planning.py [results/tables/main.csv] [--pairs 5] [--finished FOLDER]

The bare Snakefile has the same rules, and the same jobs with the same files and params, all of them
written out: it reads no configuration, and no library is behind it. Processor time (user and system)
of `snakemake -n`, and the ratio of the medians. Where no finished checkout is given, one is made in
which all outputs are empty files, recorded as Snakemake records its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

from large_pools import check_out, idle, pretend, show

HEAD = """import json

with open({table!r}) as handle:
    TABLE = json.load(handle)


def of_job(rule, part, name):
    return lambda wildcards: TABLE["jobs"][rule][" ".join(wildcards)][part][name]
"""


def workflow_of(folder: Path, target: str) -> Any:
    """The workflow of a checkout with the DAG of a target, as Snakemake's own API builds it."""
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


def input_line(rule: str, name: str, value: Any) -> str:
    """An input in the bare Snakefile: written out, or looked up where it hangs on the job."""
    from snakemake.io import is_callable, is_flagged

    items = [value] if isinstance(value, str) or callable(value) else list(value)
    computed = any(map(is_callable, items))
    text = f"of_job({rule!r}, 'input', {name!r})" if computed else repr(plain(value))
    if any(is_flagged(item, "ancient") for item in items):
        text = f"ancient({text})"
    return f"{name}={text},"


def param_line(rule: str, name: str, value: Any) -> str:
    """A param in the bare Snakefile: from the table of its rule or, where it hangs on it, of its job."""
    if callable(value):
        return f"{name}=of_job({rule!r}, 'params', {name!r}),"
    return f"{name}=TABLE['params'][{rule!r}][{name!r}],"


def block(word: str, lines: list[str]) -> str:
    """A part of a Snakefile."""
    return "\n    ".join([f"{word}:", *(line.replace("\n", "\n    ") for line in lines)])


def write_bare(workflow: Any, root: Path, folder: Path) -> Path:
    """Write all rules with what they say, and the jobs of the DAG with what was computed for them.

    :param root: the checkout.
    :param folder: where the bare Snakefile and its table are put.
    """
    jobs: dict[str, Any] = {}
    for job in workflow.dag.jobs:
        jobs.setdefault(job.rule.name, {})[" ".join(map(str, job.wildcards))] = {
            "input": {name: plain(value) for name, value in job.input.items()},
            "params": dict(job.params.items()),
        }
    params = {
        rule.name: {name: value for name, value in rule.params.items() if not callable(value)}
        for rule in workflow.rules
    }
    table = folder / "bare.json"
    table.write_text(json.dumps({"jobs": jobs, "params": params}))
    shared = workflow.modifier.wildcard_constraints.items()
    blocks = [
        HEAD.format(table=str(table)),
        block("wildcard_constraints", [f"{name}={pattern!r}," for name, pattern in shared]),
    ]
    for rule in workflow.rules:
        if not rule.output:  # what is asked for by its name, or a rule that others take over
            if rule.input:
                unnamed = [f"{plain(list(rule.input))!r},"]
                blocks.append(block(f"rule {rule.name}", [block("input", unnamed)]))
            continue
        parts = {
            "input": [input_line(rule.name, *item) for item in rule.input.items()],
            "output": [f"{name}={plain(value)!r}," for name, value in rule.output.items()],
            "log": [repr(plain(rule.log[0]))],
            "benchmark": [repr(plain(rule.benchmark))],
            "wildcard_constraints": [
                f"{name}={pattern!r}," for name, pattern in rule.wildcard_constraints.items()
            ],
            "conda": [repr(str(root / "envs/atlas.yaml"))],
            "threads": ["1"],
            "resources": ["mem_mb=2000,", "runtime=30,", "gpu=0,"],
            "params": [param_line(rule.name, *item) for item in rule.params.items()],
            "message": [repr(rule.message)],
            "script": [repr(str(root / "scripts/job.py"))],
        }
        said = [block(part, lines) for part, lines in parts.items() if lines]
        blocks.append(block(f"rule {rule.name}", said))
    bare = folder / "bare.smk"
    bare.write_text("\n\n\n".join(blocks) + "\n")
    return bare


def main() -> None:
    """Plan in turns, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", nargs="?", default="results/tables/main.csv")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--finished", type=Path, help="a checkout in which the target is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.finished is None:
            root = folder / "checkout"
            root.mkdir()
            check_out(root)
            pretend(root, given.target)
        else:
            root = given.finished.resolve()
        workflow = workflow_of(root, given.target)
        bare = write_bare(workflow, root, folder)
        ways = {"this workflow": root / "Snakefile", "bare Snakefile": bare}
        costs: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(given.pairs):
            for way, file in ways.items():
                cost = idle(root, given.target, "-n", "--snakefile", str(file))
                show(way, cost)
                costs[way].append(cost.processor)
        jobs, rules = len(workflow.dag.jobs), len(list(workflow.rules))
    ours, theirs = map(statistics.median, costs.values())
    print(f"{given.target}: {jobs} jobs of {rules} rules; medians {ours:.2f} s and {theirs:.2f} s "
          f"of the processor, ratio {ours / theirs:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
