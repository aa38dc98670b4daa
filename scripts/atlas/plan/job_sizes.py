"""How much memory and time a job asks a cluster for, from the size of the weights it handles.

What a job asks for never alters what it makes: too little, and it is tried again with more.
"""

import math
from collections.abc import Sequence
from pathlib import Path

MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000
# Hubs cut weights into files of at most this many bytes.
FILE_BYTES = 5 * GIGABYTE
NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def weight_bytes(billions: float | None, dtype: str, files: Sequence[Path]) -> int:
    """Size of the weights of a base, in bytes.

    :param billions: parameters in billions, where the configuration tells.
    :param dtype: float32, bfloat16 or float16.
    :param files: weight files of the base, whether they are there yet or not.
    :returns: by the number of parameters; else by the files, where all are there; else the most
        that so many files hold.
    """
    if billions is not None:
        return round(billions * 1e9 * NUMBER_BYTES[dtype])
    if files and all(file.is_file() for file in files):
        return sum(file.stat().st_size for file in files)
    return FILE_BYTES * len(files)


def memory_mb(attempt: int, fixed: int, weights: int = 0, copies: float = 0) -> int:
    """Memory of a job in megabytes: `fixed`, and so many copies of the weights.

    :param attempt: 1 for the first; each further one asks for as much again.
    :param weights: bytes.
    """
    return attempt * (fixed + math.ceil(copies * weights / MEGABYTE))


def runtime_minutes(attempt: int, fixed: int, weights: int = 0, per_gigabyte: float = 0) -> int:
    """Time limit of a job in minutes: `fixed`, and so many per gigabyte of weights.

    :param attempt: 1 for the first; each further one asks for as much again.
    :param weights: bytes; where a job handles many models, bytes times models.
    """
    return attempt * (fixed + math.ceil(per_gigabyte * weights / GIGABYTE))
