"""What a forked job used, for the benchmarks of Snakemake: it watches the processes of a shell alone."""

import contextlib
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atlas import owners
from atlas.job.environment import WORK
from atlas.job.replaced import replace

VARIABLE = "DELTA_ATLAS_USAGE"
MB = 1 / 1024 / 1024


def _file(shell: int) -> Path:
    return WORK / "usage" / f"{owners.owner()}.{shell}.json"


def file_of_this_shell() -> Path:
    """Where the job that this process waits for says what it used: by the process that Snakemake started."""
    run = os.environ.get(owners.RUN, "")
    return _file(os.getpid() if run.startswith(f"{os.getppid()}.") else os.getppid())


def tell() -> None:
    """At the end of a forked job: write down what the kernel counted of it."""
    if VARIABLE not in os.environ:
        return
    file = Path(os.environ[VARIABLE])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(used()))


def used() -> dict[str, float]:
    """What this process used: MB of memory at most (USS, PSS: now), MB read and written, seconds."""
    status = _fields(Path("/proc/self/status"))
    rollup = _fields(Path("/proc/self/smaps_rollup"))
    transfers = _fields(Path("/proc/self/io"))
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "max_rss": status["VmHWM"] / 1024, "max_vms": status["VmPeak"] / 1024,
        "max_uss": (rollup["Private_Clean"] + rollup["Private_Dirty"]) / 1024,
        "max_pss": rollup["Pss"] / 1024,
        "io_in": transfers["read_bytes"] * MB, "io_out": transfers["write_bytes"] * MB,
        "cpu_time": sum(time.ru_utime + time.ru_stime for time in times),
    }  # fmt: skip


def _fields(file: Path) -> dict[str, int]:
    lines = (line.split() for line in file.read_text().splitlines())
    return {
        parts[0].rstrip(":"): int(parts[1]) for parts in lines if parts[1:2] and parts[1].isdigit()
    }


def reach_benchmarks() -> None:
    """In the main process: let Snakemake's benchmarks hold what forked jobs say of themselves."""
    from snakemake import benchmark

    replace(benchmark, "benchmarked", _with_forked_jobs)


def _with_forked_jobs(measured: Any) -> Any:
    @contextlib.contextmanager
    def benchmarked(pid: Any = None, record: Any = None, *more: Any) -> Iterator[Any]:
        with measured(pid, record, *more) as found:
            yield found
        file = _file(pid)
        if pid and file.exists():
            for name, value in json.loads(file.read_text()).items():
                setattr(found, name, value)
            found.cpu_usage, found.data_collected = 100 * found.cpu_time, True
            file.unlink()

    return benchmarked
