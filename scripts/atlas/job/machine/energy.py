"""The energy that a machine's own counters have while a job runs: processors (RAPL) and GPUs (NVML).

A counter is of a whole processor or GPU: what other jobs used at the same time is in it.
"""

import contextlib
import ctypes
import os
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")  # https://docs.kernel.org/power/powercap/powercap.html
NVML = "libnvidia-ml.so.1"
MICRO, MILLI = 1e-6, 1e-3


class Meter:
    """Counters read when it is made, and again when :meth:`joules` is asked for."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._powercap = powercap
        self._before = self._read()

    def joules(self) -> dict[str, float]:
        """Counter -> joules since then; nothing where the machine has none that may be read."""
        found = {}
        for name, after in self._read().items():
            if (before := self._before.get(name)) is not None:
                turn = after[1] if after[0] < before[0] else 0.0  # a counter that began anew
                found[name] = round(after[0] - before[0] + turn, 3)
        return found

    def _read(self) -> dict[str, tuple[float, float]]:
        """Counter -> joules, and where it begins anew."""
        return {**_processors(self._powercap), **_gpus()}


def _processors(folder: Path) -> dict[str, tuple[float, float]]:
    """The packages: zones within them are parts of the same energy."""
    found = {}
    for zone in sorted(folder.glob("intel-rapl:*")):
        # On most machines only root may read them; a number that is none is no counter.
        with contextlib.suppress(OSError, ValueError):
            if (name := (zone / "name").read_text().strip()).startswith("package"):
                used = int((zone / "energy_uj").read_text()) * MICRO
                found[name] = used, int((zone / "max_energy_range_uj").read_text()) * MICRO
    return found


def _gpus() -> dict[str, tuple[float, float]]:
    """The GPUs that this job may see, by their number among those of the machine."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        library = ctypes.CDLL(NVML)
    except OSError:
        return {}
    if library.nvmlInit_v2():
        return {}
    count = ctypes.c_uint()
    library.nvmlDeviceGetCount_v2(ctypes.byref(count))
    wanted = range(count.value)
    if seen is not None:
        wanted = [
            int(part) for part in seen.split(",") if part.isdigit() and int(part) < count.value
        ]
    found = {}
    for number in wanted:
        handle, used = ctypes.c_void_p(), ctypes.c_ulonglong()
        if library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(handle)):
            continue
        if not library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(used)):
            found[f"gpu-{number}"] = used.value * MILLI, 0.0
    library.nvmlShutdown()
    return found
