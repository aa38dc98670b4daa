"""The batch system that a job runs under: what it was given there, and what still lives there."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from atlas.errors import AtlasError

# Key in an attestation -> variable that SLURM gives to a job step.
VARIABLES = {"cluster": "SLURM_CLUSTER_NAME", "job_id": "SLURM_JOB_ID",
             "partition": "SLURM_JOB_PARTITION", "nodes": "SLURM_JOB_NODELIST",
             "gpus": "SLURM_STEP_GPUS", "modules": "LOADEDMODULES"}  # fmt: skip
# Key in an attestation -> field of `scontrol show job`.
FIELDS = {"account": "Account", "qos": "QOS", "time_limit": "TimeLimit", "restarts": "Restarts",
          "allocated": "TRES"}  # fmt: skip
# Snakemake gives the id of its run to every job as name.
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
SECONDS = 10  # a controller that answers no sooner is away
LONG = 60  # or has many jobs to tell of


def allocation(environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """What the batch system gave to this job, or None where the job runs without one.

    :returns: job_id, cluster, partition, nodes, gpus (their numbers on the node), modules; and, where
        the controller answers, account, qos, time_limit, restarts and allocated (CPUs, memory,
        GPUs with their model, in SLURM's own words).
    """
    if "SLURM_JOB_ID" not in environment:
        return None
    found = {key: environment.get(name) for key, name in VARIABLES.items()}
    fields = job_fields(_ask("scontrol", "show", "job", "-o", environment["SLURM_JOB_ID"]) or "")
    found |= {key: fields.get(name) for key, name in FIELDS.items()}
    return {"system": "slurm", **{key: value for key, value in found.items() if value}}


def job_fields(line: str) -> dict[str, str]:
    """The fields of one line of `scontrol show job -o`; (null) and N/A are left out."""
    fields = dict(re.findall(r"(?:^|\s)([A-Za-z][\w/:]*)=(\S*)", line))
    return {name: v for name, v in fields.items() if v not in ("", "(null)", "N/A", "None")}


def refuse_living_jobs(folder: Path) -> None:
    """Refuse to start where jobs of an earlier run still write to the same working folder.

    :raises AtlasError: with the command that cancels them, or where it cannot be told.
    """
    told = _ask("squeue", "-h", "-o", "%A|%j|%Z", seconds=LONG)
    if told is None:
        raise AtlasError(
            f"squeue has not answered within {LONG} s, and jobs of an earlier run may still live on the "
            "cluster; give the same command again."
        )
    rows = [line.split("|") for line in told.splitlines()]
    living = {number: run for number, run, *where in rows
              if RUN_ID.search(run) and "|".join(where) == str(folder)}  # fmt: skip
    if living:
        numbers = ", ".join(sorted(living, key=int))
        names = ",".join(sorted(set(living.values())))
        raise AtlasError(
            f"jobs of an earlier run still live on the cluster ({numbers}); wait for them, or give "
            f"scancel --name={names}, and then the same command again."
        )


def _ask(*command: str, seconds: int = SECONDS) -> str | None:
    """What a command of the batch system prints: nothing where there is none, None where it is slow."""
    try:
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return None
    except (OSError, subprocess.SubprocessError):
        return ""
