"""What all tests share: processes that have imported libraries, and how tests are dealt out (pytest -n)."""

from __future__ import annotations

import gc
import os
from pathlib import Path

# Tests run side by side, one thread each; libraries read it when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
gc.disable()  # until all tests are collected

from xdist.scheduler import LoadFileScheduling

import programs
from atlas.job import forked

# Dealt out in this order, so that no process is left with a long file at the end.
LEAST = "least_snakemake"
LONGEST = (
    "tests/slurm/", "tests/main/", "tests/workflow/", "tests/unit/training/",
    "tests/unit/publishing/",
)  # fmt: skip


def pytest_configure(config):
    """Programs and jobs of all tests start from the same processes."""
    if not hasattr(config, "workerinput"):  # workers of xdist inherit what their controller has
        forked.start(*programs.SNAKEMAKE)


def pytest_xdist_auto_num_workers(config) -> int:
    """Whole folders are dealt out to all cores; files that are named, and what a marker picks, are not."""
    picked = config.getoption("markexpr")
    if any("::" in part or Path(part).is_file() for part in config.args) or (
        picked and not picked.startswith("not ")
    ):
        return 0
    return min(8, len(os.sched_getaffinity(0)))


def pytest_unconfigure(config):
    forked.stop()


def pytest_collection_modifyitems(config, items):
    """Put what takes longest first; leave out what is installed for it alone, unless it is asked for."""
    if LEAST not in config.getoption("markexpr"):
        items[:] = [item for item in items if LEAST not in item.keywords]

    def place(item) -> int:
        found = (i for i, start in enumerate(LONGEST) if item.nodeid.startswith(start))
        return next(found, len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish(session):
    """What tests have imported stays: who looks for garbage, as each training does, need not see it."""
    gc.collect()
    gc.freeze()
    gc.enable()


class ByFile(LoadFileScheduling):
    """A file is run by one process; so are all files that read the main job's one folder."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/main" if nodeid.startswith("tests/main/") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)
