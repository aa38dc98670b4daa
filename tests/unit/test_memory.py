from __future__ import annotations

import sys

import pytest
import torch

from atlas import memory

CPU = torch.device("cpu")


@pytest.fixture
def groups(tmp_path):
    """Writes a control group, and what says that this process is in it."""

    def write(said, folder, limit, used, stat, values):
        place = tmp_path / "cgroup" / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, value in zip((limit, used, "memory.stat"), (*values, stat), strict=True):
            (place / name).write_text(f"{value}\n")
        (tmp_path / "own").write_text(said)
        return memory._free_in_groups(tmp_path / "cgroup", tmp_path / "own")

    return write


def test_what_a_group_may_still_take(groups):
    v2, v1 = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
    # Of version 2, the limit of a group above counts, too; "max" is none.
    groups("0::/jobs/a", "jobs", *v2, "inactive_file 50", (900, 500))
    found = groups("0::/jobs/a", "jobs/a", *v2, "anon 1\ninactive_file 3", ("max", 7))
    assert found == [sys.maxsize, 450]
    said = "4:memory:/slurm\n1:cpu:/\n"
    found = groups(said, "memory/slurm", *v1, "total_inactive_file 20\ninactive_file 1", (100, 40))
    assert found == [sys.maxsize, 80]


def test_no_groups(tmp_path):
    assert memory._free_in_groups(tmp_path, tmp_path / "none") == [sys.maxsize]


def test_weights_are_loaded_where_they_leave_room(monkeypatch):
    free = {"free": 8 * memory.GIGABYTE}
    monkeypatch.setattr(memory, "free_memory", lambda _: free["free"])
    monkeypatch.delenv("DELTA_ATLAS_STREAM", raising=False)
    assert not memory.by_layer(5 * memory.GIGABYTE, CPU)
    assert memory.by_layer(5 * memory.GIGABYTE + 1, CPU)
    for wanted, expected in (("always", True), ("never", False)):
        monkeypatch.setenv("DELTA_ATLAS_STREAM", wanted)
        assert all(memory.by_layer(needed, CPU) is expected for needed in (1, 1 << 50))


def test_free_memory_is_no_more_than_the_machine_has(monkeypatch):
    machine = memory._free_on_machine()
    assert 0 < memory.free_memory(CPU) <= machine
    monkeypatch.setattr(memory, "_free_in_groups", lambda: [5])
    assert memory.free_memory(CPU) == 5
