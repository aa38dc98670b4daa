"""Tests may run side by side (`pytest -n 2`): those of one file stay together."""

import pytest

# These share one folder of results, and one cluster.
SHARED = ("main", "slurm")


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items):
    for item in items:
        folder = item.path.parent.name
        group = folder if folder in SHARED else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
