"""What is measured runs in a process of its own, forked from one that has imported torch and done nothing."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Found = TypeVar("Found")


def alone(
    work: Callable[..., Found], *arguments: object, threads: int = 1,
    environment: Mapping[str, str] | None = None,
) -> Found:  # fmt: skip
    """What a function of a program returns; its memory and time are its own.

    :param threads: of its linear algebra, the same each time.
    :param environment: what the function finds in its environment beside that of the program.
    :raises: what it raises.
    """
    os.environ.update({"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)})
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "safetensors.torch"])
    with ProcessPoolExecutor(1, context, _begin, (environment or {},)) as pool:
        return pool.submit(work, *arguments).result()


def _begin(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
