"""How much memory is free, and whether weights are loaded into it or stay in their files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GIGABYTE = 1_000_000_000
SHARE = 0.75  # of the free memory that weights may fill


def by_layer(needed: int, device: torch.device) -> bool:
    """Whether weights stay in their files, by the configuration's `stream` (auto, always, never).

    :param needed: bytes that they and what is computed with them fill in memory.
    """
    wanted = os.environ.get("DELTA_ATLAS_STREAM", "auto")
    if wanted != "auto":
        return wanted == "always"
    return needed + GIGABYTE > SHARE * free_memory(device)


def free_memory(device: torch.device) -> int:
    """Bytes that are free where a job computes: of the GPU, or of the machine and its control groups."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_free_on_machine(), *_free_in_groups())


def _free_on_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux: all that there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def _free_in_groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """What each control group of this process may still take, by both versions of them."""
    found = [sys.maxsize]
    for limit, used, folder in _groups(root, own):
        try:
            most, now = ((folder / name).read_text().strip() for name in (limit, used))
            told = (folder / "memory.stat").read_text().splitlines()
        except OSError:  # the outermost group has no limit
            continue
        stat = dict(line.split() for line in told)
        if most.isdigit():
            # Files in the cache give way to weights.
            cache = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
            found.append(int(most) - int(now) + cache)
    return found


def _groups(root: Path, own: Path) -> Iterator[tuple[str, str, Path]]:
    """Of each group and those above it: the names of its limit and of its use, and its folder."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if "memory" in controllers.split(","):
            top, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        elif not controllers:
            top, names = root, ("memory.max", "memory.current")
        else:
            continue
        folder = top / path.lstrip("/")
        above = [f for f in (folder, *folder.parents) if f == top or top in f.parents]
        yield from ((*names, f) for f in above)
