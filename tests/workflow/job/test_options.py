"""Options of Snakemake that touch files, or reasons to make them: what each does with this workflow.

Every option of `snakemake --help` stands in one of the tables, or in the list of those that alter neither.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from micro import lineage, micro_config, snakemake

pytestmark = pytest.mark.workflow

TESTS = Path(__file__).parents[1]
MAIN = "results/tables/main.csv"
SILHOUETTE = "results/pools/micro/silhouette.csv"

# Options with which a finished run stays finished; given together.
NOTHING_TO_DO = [
    "--rerun-triggers code mtime params input software-env", "--max-checksum-file-size 1",
    "--ignore-incomplete", "--rerun-incomplete", "--drop-metadata", "--nolock", "--notemp",
    "--latency-wait 1", f"--wait-for-files {SILHOUETTE}", "--trust-io-cache", "--max-inventory-time 1",
    "--shadow-prefix shadow", "--keep-incomplete", "--keep-storage-local-copies",
    "--not-retrieve-storage", "--local-storage-prefix elsewhere", "--shared-fs-usage none",
    "--strict-dag-evaluation cyclic-graph", "--queue-input-wait-time 1", "--allow-ambiguity",
    "--prioritize silhouettes", "--batch main_table=1/2", "--skip-script-cleanup", "--no-hooks",
    "--omit-flags temp", "--persistence-backend file", "--configfile micro.yaml", "--directory .",
    "--snakefile Snakefile", "--workflow-profile profiles/default",
]  # fmt: skip
# Options -> jobs that they plan of a finished run.
PLANNED = {
    "--force": {"main_table"},
    "--forcerun silhouettes": {"silhouettes", "draw_figures", "navigator", "main_table"},
    "--forcerun silhouettes --until silhouettes": {"silhouettes"},
    "--forcerun silhouettes --omit-from navigator": {"silhouettes", "draw_figures"},
    "--forcerun silhouettes --consider-ancient main_table=silhouettes": {
        "silhouettes", "draw_figures", "navigator",
    },
    "--forcerun silhouettes --allowed-rules silhouettes draw_figures navigator main_table": {
        "silhouettes", "draw_figures", "navigator", "main_table",
    },
    "--forceall --until fetch_encoder": {"fetch_encoder"},
    "--config device=cpu --replace-workflow-config": set(),
}  # fmt: skip
# Options that write nothing below results/ -> what they print.
PRINTED = {
    f"--summary {MAIN}": rf"{SILHOUETTE}\t.*\tok\tno update",
    f"--detailed-summary {MAIN}": rf"{SILHOUETTE}\t.*embeddings.npz.*\tok\tno update",
    f"--list-changes code {MAIN}": r"\A(?!.*results/)",
    f"--list-untracked {MAIN}": r"scripts/job\.py",
    f"--filegraph {MAIN}": r"digraph snakemake_dag.*main_table",
    f"--delete-temp-output --dry-run {MAIN}": r"\A(?!.*Would delete)",
    f"--delete-all-output --dry-run {MAIN}": rf"Would delete {SILHOUETTE}",
    "--lint": r"Congratulations|Lints for",
}
# Options that are refused, by this workflow or by Snakemake for what it says -> how.
REFUSED = {
    "--all-temp": "--all-temp deletes what was read",
    "--default-storage-provider s3": "snakemake-storage-plugin-s3 is not installed",
    "--cache fetch_rows": "Rules with a benchmark directive may not be marked as eligible",
    "--unneeded-temp-files": "expected at least one argument",
}
# Tried elsewhere -> where; and those that alter neither files nor reasons, or belong to other machines.
ELSEWHERE = {
    "--touch": "lineage/test_touched.py", "--unlock": "job/test_kill.py",
    "--report": "reports.py", "--cleanup-metadata": "job/test_options.py",
}  # fmt: skip
NEITHER = """
--generate-unit-tests
--archive --attempt --benchmark-extended --cleanup-shadow --containerize --cores --d3dag --dag
--debug --debug-dag --default-resources --default-storage-prefix --deploy-sources --draft-notebook
--edit-notebook
--envvars --executor --export-cwl --force-use-threads --group-components --groups --help
--immediate-submit --job-deploy-sources --jobname --jobs --jobscript --keep-going
--list-input-changes --list-params-changes --list-rules --list-target-rules --local-cores
--local-groupid --logger --max-jobs-per-second --max-jobs-per-timespan
--max-status-checks-per-second --max-threads --mode --no-subworkflows --nocolor --notebook-listen
--persistence-backend-db-url --precommand --preemptible-retries --preemptible-rules
--print-compilation --printshellcmds --profile --quiet --remote-job-local-storage-prefix
--report-after-run --report-metadata --report-stylesheet --reporter --resources --retries
--rulegraph --runtime-profile --runtime-source-cache-path --scheduler
--seconds-between-status-checks --set-resource-scopes --set-resources --set-scatter --set-threads
--show-failed-logs --software-deployment-method --target-jobs
--target-files-omit-workdir-adjustment --use-apptainer --use-conda --use-envmodules --verbose
--version --wait-for-files-file --wait-for-free-local-storage --wrapper-prefix
""".split()  # noqa: SIM905
# Of plug-ins, and of what holds environments.
OTHERS = ("--slurm-", "--scheduler-", "--report-html-", "--conda-", "--apptainer-", "--container-",
          "--list-conda-")  # fmt: skip


@pytest.fixture(scope="module")
def folder(configured):
    """A finished run that no test alters."""
    return configured(micro_config())


def run(folder, options, check=True):
    line = ["--configfile", "micro.yaml", "--cores", "1", *shlex.split(options)]
    return snakemake(folder, *line, config=None, check=check)


def test_every_option_stands_here():
    tables = " ".join([*NOTHING_TO_DO, *PLANNED, *PRINTED, *REFUSED, *ELSEWHERE, *NEITHER])
    here = set(re.findall(r"--[a-z][a-z0-9-]+", tables))
    said = snakemake(Path(), "--help", config=None).stdout
    known = set(re.findall(r"^  (?:-\w,? )?(--[a-z][a-z0-9-]+)", said, re.MULTILINE))
    assert len(known) > 100
    assert {option for option in known if not option.startswith(OTHERS)} - here == set()


@pytest.mark.parametrize("option", ELSEWHERE)
def test_what_is_tried_elsewhere_is_tried_there(option):
    assert f'"{option}' in (TESTS / ELSEWHERE[option]).read_text()


def test_a_finished_run_stays_finished(folder):
    done = run(folder, f"--dry-run {' '.join(NOTHING_TO_DO)} -- {MAIN}")
    assert "Nothing to be done" in done.stdout


@pytest.mark.parametrize("options", PLANNED)
def test_what_is_planned(folder, options):
    done = run(folder, f"--dry-run {options} -- {MAIN}")
    jobs = re.findall(r"^(\w+) +\d+$", done.stdout.partition("Job stats:")[2], re.MULTILINE)
    assert set(jobs) - {"total"} == PLANNED[options]


@pytest.mark.parametrize("options", PRINTED)
def test_what_is_printed(folder, options):
    assert re.search(PRINTED[options], run(folder, options).stdout, re.DOTALL)
    assert lineage(folder, "verify", MAIN).returncode == 0


@pytest.mark.parametrize("options", REFUSED)
def test_what_is_refused(folder, options):
    done = run(folder, f"--dry-run {MAIN} {options}", check=False)
    assert done.returncode != 0
    assert REFUSED[options] in done.stdout


def test_without_hooks_and_metadata(copy):
    """What was made is known by its statements; the history lacks what was typed."""
    (copy / SILHOUETTE).write_text("altered")
    snakemake(copy, "--cleanup-metadata", SILHOUETTE, "--cores", "1")
    run(copy, f"--no-hooks --drop-metadata -- {SILHOUETTE}")
    assert lineage(copy, "verify").returncode == 0
    assert "Nothing to be done" in run(copy, f"--dry-run {SILHOUETTE}").stdout
