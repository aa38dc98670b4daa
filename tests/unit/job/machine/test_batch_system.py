from __future__ import annotations

import os
from pathlib import Path

import pytest

from atlas.errors import AtlasError
from atlas.job.machine import batch_system

RUN = "5b18c9bf-2bb3-48c4-a817-fb19ec7bf7d8"
LINE = (
    "JobId=7 JobName=wrap UserId=root(0) GroupId=root(0) MCS_label=N/A Account=lab QOS=normal "
    "Restarts=1 RunTime=00:00:02 TimeLimit=01:01:00 TimeMin=N/A Partition=h100 "
    "ReqNodeList=(null) TRES=cpu=1,mem=2512M,node=1,billing=1,gres/gpu=1,gres/gpu:h100=1 "
    "Socks/Node=* Command=(null) WorkDir=/home/me/atlas Power= TresPerJob=gres:gpu:h100:1 \n"
)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands of SLURM that print what a test wants."""

    def answer(name: str, text: str, status: int = 0, wait: int = 0) -> None:
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        file.write_text(f'#!/bin/sh\nsleep {wait}\ncat "{tmp_path / name}"\nexit {status}\n')
        file.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return answer


def test_fields_of_a_job():
    fields = batch_system.job_fields(LINE)
    assert fields["TRES"] == "cpu=1,mem=2512M,node=1,billing=1,gres/gpu=1,gres/gpu:h100=1"
    assert (fields["TimeLimit"], fields["Account"], fields["Restarts"]) == ("01:01:00", "lab", "1")
    assert not {"MCS_label", "TimeMin", "ReqNodeList", "Command", "Power"} & set(fields)


def test_outside_a_batch_system_nothing_is_recorded():
    assert batch_system.allocation({}) is None


def test_what_a_job_was_given(slurm):
    slurm("scontrol", LINE)
    given = {"SLURM_JOB_ID": "7", "SLURM_JOB_PARTITION": "h100", "SLURM_STEP_GPUS": "0",
             "SLURM_JOB_NODELIST": "node3", "SLURM_CLUSTER_NAME": "big", "LOADEDMODULES": ""}  # fmt: skip
    assert batch_system.allocation(given) == {
        "system": "slurm", "job_id": "7", "partition": "h100", "gpus": "0", "nodes": "node3",
        "cluster": "big", "account": "lab", "qos": "normal", "time_limit": "01:01:00",
        "restarts": "1",
        "allocated": "cpu=1,mem=2512M,node=1,billing=1,gres/gpu=1,gres/gpu:h100=1",
    }  # fmt: skip


def test_a_controller_that_is_away_costs_only_what_it_would_tell(slurm):
    slurm("scontrol", "slurm_load_jobs error: Unable to contact slurm controller", status=1)
    given = {"SLURM_JOB_ID": "7", "SLURM_JOB_PARTITION": "cpu"}
    assert batch_system.allocation(given) == {"system": "slurm", "job_id": "7", "partition": "cpu"}


def test_jobs_of_an_earlier_run_in_the_same_folder_are_named(slurm):
    folder = Path("/home/me/a|b")
    slurm("squeue", f"12|{RUN}|{folder}\n9|{RUN}|{folder}\n13|{RUN}|/elsewhere\n")
    with pytest.raises(AtlasError) as error:
        batch_system.refuse_living_jobs(folder)
    assert "(9, 12)" in str(error.value)
    assert f"scancel --name={RUN}," in str(error.value)


def test_a_queue_that_does_not_answer_may_have_some(slurm, monkeypatch):
    monkeypatch.setattr(batch_system, "LONG", 0.1)
    slurm("squeue", "", wait=1)
    with pytest.raises(AtlasError, match=r"has not answered within .* give the same command again"):
        batch_system.refuse_living_jobs(Path("/home/me"))


def test_other_jobs_of_the_folder_are_nobody_s_business(slurm):
    slurm("squeue", f"12|interactive|/home/me\n13|{RUN}|/elsewhere\n")
    batch_system.refuse_living_jobs(Path("/home/me"))
    slurm("squeue", "", status=1)
    batch_system.refuse_living_jobs(Path("/home/me"))
