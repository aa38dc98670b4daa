"""One GPU for each job, on a machine that has several and no batch system to share them out."""

import fcntl
import os
import time
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path

_held: list[TextIOWrapper] = []  # a lock lives as long as its file is open: to the end of the job


def visible_gpus(
    devices: Path = Path("/dev"), environment: Mapping[str, str] = os.environ
) -> list[str]:
    """Numbers (or names) of the GPUs that this process may use."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    found = [file.name.removeprefix("nvidia") for file in devices.glob("nvidia[0-9]*")]
    return sorted(found, key=int)


def take(gpus: Sequence[str], folder: Path) -> str:
    """Take the first GPU that no other job of this workflow has, and show torch no other.

    Where all are taken, wait: `--resources gpu=N` allows more jobs than there are GPUs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for gpu in gpus:
            handle = (folder / f"{os.uname().nodename}-{gpu}.lock").open("w")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                continue
            _held.append(handle)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return gpu
        time.sleep(0.2)


def take_one_of_several(folder: Path) -> None:
    """In a job that uses a GPU: on a machine with several, take one; in a batch job, it was given."""
    gpus = visible_gpus()
    if len(gpus) > 1 and "SLURM_JOB_ID" not in os.environ:
        take(gpus, folder)
