"""The micro configuration through sbatch, with all that befalls a cluster meanwhile."""

import os
import re
import signal
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

import cluster
from atlas.job.attempts import read_attempts
from cluster import TARGETS, configuration, wait_for
from micro import command, digests, environment, lineage, litter, micro, snakemake, statements

pytestmark = pytest.mark.slurm
CLUSTER = ["--profile", "slurm", "--slurm-init-seconds-before-status-checks", "3"]
# The first attempt gets less memory than the wrapper of a job takes.
STARVED = ["--set-resources", "fetch_base_1:mem_mb=100 if attempt == 1 else 2000"]
GPU_RULES = ("train_adapter", "compute_shard")


def start(folder: Path, log: Path) -> subprocess.Popen:
    with log.open("w") as handle:
        return subprocess.Popen(
            command(*TARGETS, *CLUSTER, *STARVED), cwd=folder, env=environment(), stdout=handle,
            stderr=handle, start_new_session=True,
        )  # fmt: skip


def run_id(log: Path) -> str:
    return re.findall(r"SLURM run ID: (\S+)", log.read_text())[-1]


@pytest.fixture(scope="module")
def broken(slurm, tmp_path_factory) -> Path:
    """A run during which everything happens, taken up again as the README says, and finished."""
    folder = micro(tmp_path_factory.mktemp("broken") / "check out", configuration())
    log = folder.parent / "first.log"
    process = start(folder, log)

    def works(rule: str = "") -> bool:
        assert process.poll() is None, log.read_text()[-6000:]
        return bool(cluster.running(rule))

    def submitted_again() -> bool:
        return log.read_text().count("slurm/rule_train_adapter/") > 4

    try:
        wait_for(lambda: works("train_adapter"), "a training")
        cluster.ask("scancel", cluster.running("train_adapter")[0])
        trained = folder / "results/provenance/attestations/models"
        wait_for(lambda: [*trained.glob("*/adapter_model*")], "a finished training")
        wait_for(works, "a job after the cancelled one")
        cluster.controller_away(20)
        wait_for(submitted_again, "the cancelled training")
        wait_for(works, "a job after the controller came back")
        hit = cluster.running()
        cluster.node_down_and_up()
        wait_for(lambda: works() and cluster.went_on(hit), "a job of the node that came back")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    assert cluster.running(), "jobs go on without Snakemake"
    locked = snakemake(folder, *TARGETS, *CLUSTER, check=False)
    assert locked.returncode != 0
    assert "--unlock" in locked.stdout
    snakemake(folder, "--unlock")
    living = snakemake(folder, *TARGETS, *CLUSTER, check=False)
    assert living.returncode != 0
    assert f"scancel --name={run_id(log)}" in living.stdout
    cluster.ask("scancel", f"--name={run_id(log)}")
    wait_for(lambda: not cluster.ask("squeue", "-h"), "the jobs to end")
    done = snakemake(folder, *TARGETS, *CLUSTER, timeout=3000)
    (folder.parent / "second.log").write_text(done.stdout)
    return folder


def test_same_bytes_as_without_a_cluster(broken, local):
    assert digests(broken) == digests(local)
    assert litter(broken) == []
    assert lineage(broken, "verify").returncode == 0


def test_nothing_that_had_finished_was_made_twice(broken):
    attempts = read_attempts(broken)
    finished = [tuple(a["outputs"]) for a in attempts if a["outcome"] == "finished"]
    assert len(finished) == len(set(finished)) == 21
    numbers = {job.number for job in cluster.jobs()}
    assert {a["batch_job"] for a in attempts} <= numbers


def test_jobs_go_through_sbatch_and_ask_for_what_they_need(broken):
    jobs = [job for job in cluster.jobs() if job.comment]
    states = {job.state.split()[0] for job in jobs}
    assert {"COMPLETED", "CANCELLED"} <= states
    gpu = [j for j in jobs if any(rule in j.comment for rule in GPU_RULES)]
    assert len(gpu) >= 4 + 2 + 1
    for job in jobs:
        if job in gpu:
            assert job.partition == "h100"
            assert "gres/gpu:h100=1" in job.asked.split(",")
        else:
            assert job.partition == "cpu"
            assert "gpu" not in job.asked


def test_an_attempt_that_failed_is_repeated_with_more(broken):
    def memory(rule):
        asked = [j.asked for j in cluster.jobs() if j.comment.startswith(f"rule_{rule}")]
        return [int(re.search(r"mem=(\d+)M", line)[1]) for line in asked]

    assert memory("fetch_base_1")[:2] == [100, 2000]
    again = memory("train_adapter")
    assert max(again) >= 2 * min(again)


def test_small_jobs_travel_together(broken):
    comments = [job.comment for job in cluster.jobs()]
    assert sum("rule_datasets" in c for c in comments) < 4
    assert sum("rule_rows" in c for c in comments) < 4
    assert any(c.startswith("rule_pool_assemble_activations") for c in comments)
    assert not any(c.startswith(("rule_make_split", "rule_prepare_rows")) for c in comments)


def test_attestations_tell_the_allocation(broken):
    for name, found in statements(broken).items():
        told = found["predicate"]["runDetails"]["delta_atlas_execution"]
        batch = told["batch_system"]
        assert batch["system"] == "slurm"
        assert batch["nodes"] == told["host"] == os.uname().nodename.split(".")[0]
        assert batch["job_id"].isdigit()
        if name.endswith(("adapter_model.safetensors", ".h5")) and "activations" not in name:
            assert batch["partition"] == "h100"
            assert batch["gpus"] in ("0", "1")
            assert "gres/gpu:h100=1" in batch["allocated"]
            assert told["device"]
        if name.endswith("silhouette.csv"):
            assert batch["partition"] == "cpu"
            assert "mem=" in batch["allocated"]
            assert batch["time_limit"]


def test_report_and_history(broken):
    report = broken / "report.zip"
    snakemake(broken, *TARGETS, "--report", str(report))
    assert report.stat().st_size > 10_000
    report.unlink()
    assert lineage(broken, "history").returncode == 0


def spans(folder: Path) -> list[tuple[datetime, datetime, str]]:
    """When each shard was computed, and on which GPU."""
    found = []
    for name, statement in statements(folder).items():
        if "/shards/" in name:
            told = statement["predicate"]["runDetails"]
            times = [
                datetime.fromisoformat(told["metadata"][k]) for k in ("startedOn", "finishedOn")
            ]
            found.append((*times, told["delta_atlas_execution"]["batch_system"]))
    return sorted(found, key=lambda span: span[0])


def compute_shards_again(folder: Path, local: Path, *arguments: str) -> list[cluster.Job]:
    """The submissions that make both shards anew."""
    before = len(cluster.jobs())
    made = sorted((local / "results/pools/micro/shards").iterdir())
    shards = [shard.relative_to(local).as_posix() for shard in made]
    for shard in shards:
        (folder / shard).unlink()
    snakemake(folder, *shards, *CLUSTER, *arguments)
    return cluster.jobs()[before:]


def test_each_shard_takes_a_gpu_of_its_own(broken, local):
    submitted = compute_shards_again(broken, local)
    assert len(submitted) == 2
    first, second = spans(broken)
    if first[2]["gpus"] == second[2]["gpus"]:
        assert first[1] <= second[0], "two shards on one GPU at once"
    assert {first[2]["job_id"], second[2]["job_id"]} == {job.number for job in submitted}
    assert digests(broken) == digests(local)


def test_shards_packed_into_one_submission_run_one_after_another(broken, local):
    packed = ["--groups", "compute_shard=shards", "--group-components", "shards=2"]
    (submitted,) = compute_shards_again(broken, local, *packed)
    assert "gres/gpu:h100=1" in submitted.asked
    first, second = spans(broken)
    assert first[1] <= second[0]
    assert digests(broken) == digests(local)


def test_gpu_jobs_are_not_sent_without_a_gpu(broken):
    # Of all tables: the groups of all jobs are looked at before anything is sent.
    before = len(cluster.jobs())
    done = snakemake(broken, *CLUSTER, "--resources", "gpu=0", check=False)
    assert done.returncode != 0
    assert "takes the GPU from jobs" in done.stdout
    assert len(cluster.jobs()) == before
