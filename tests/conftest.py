"""Jobs of all tests start from the same processes, which import libraries once for the whole session."""

import programs
from atlas.job import forked


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # workers of xdist inherit what their controller has
        forked.start(*programs.SNAKEMAKE)


def pytest_unconfigure(config):
    forked.stop()
