"""The cluster of the tests: brought up, looked at, and broken."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from micro import micro_config

HERE = Path(__file__).resolve().parent
STATE = Path(tempfile.gettempdir()) / "delta-atlas-slurm"
GPUS = "/dev/null,/dev/zero"
CANNOT = 77
TARGETS = ["results/pools/micro/neighbours.csv", "results/pools/micro/silhouette.csv"]


@dataclass(frozen=True)
class Job:
    """A submission, as accounting knows it."""

    number: str
    run: str
    state: str
    partition: str
    asked: str
    comment: str


def configuration() -> dict:
    """Four models, which fall into two of four shards, and the one space whose jobs use a GPU."""
    config = micro_config()
    config["bases"]["micro"]["billions"] = 0.001
    config["pools"]["micro"] |= {"spaces": ["delta_activations"], "shards": 4}
    del config["encoders"]
    return config


def script(name: str) -> subprocess.CompletedProcess[str]:
    """Run start_slurm.sh or stop_slurm.sh; what daemons print must not be waited for."""
    log = Path(tempfile.gettempdir()) / f"delta-atlas-{name}.log"
    environment = {**os.environ, "ATLAS_SLURM": str(STATE), "ATLAS_GPU_DEVICES": GPUS}
    with log.open("w") as handle:
        done = subprocess.run([HERE / name], env=environment, stdin=subprocess.DEVNULL,
                              stdout=handle, stderr=handle, check=False, timeout=900)  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, log.read_text())


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def jobs() -> list[Job]:
    """All submissions so far, the oldest first."""
    table = ask("sacct", "-n", "-X", "-P", "--delimiter=\t", "-S", "now-1day", "-o",
                "jobidraw,jobname,state,partition,reqtres,comment")  # fmt: skip
    found = [Job(*line.split("\t")) for line in table.splitlines()]
    return sorted(found, key=lambda job: int(job.number))


def running(what: str = "") -> list[str]:
    """Numbers of the submissions that run, of a rule."""
    table = ask("squeue", "-h", "-t", "running", "-o", "%A|%k")
    rows = [line.split("|") for line in table.splitlines()]
    return [number for number, comment in rows if comment.startswith(f"rule_{what}")]


def went_on(numbers: list[str]) -> bool:
    """Whether one of these submissions runs again, or has ended well."""
    ended = {job.number for job in jobs() if job.state == "COMPLETED"}
    return bool((ended | set(running())) & set(numbers))


def wait_for(condition: Callable[[], object], what: str, seconds: int = 1500) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.5)


def node_down_and_up() -> None:
    node = ask("sinfo", "-h", "-N", "-o", "%N").split()[0]
    ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    time.sleep(8)  # its jobs are killed meanwhile
    ask("scontrol", "update", f"nodename={node}", "state=resume")
    wait_for(lambda: ask("sinfo", "-h", "-t", "idle,mixed,allocated"), "the node")


def controller_away(seconds: int) -> None:
    pid = int((STATE / "run/slurmctld.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    time.sleep(seconds)
    assert script("start_slurm.sh").returncode == 0
    time.sleep(5)  # until nodes have told what runs on them
