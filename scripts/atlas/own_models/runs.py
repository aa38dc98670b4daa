"""Runs of Snakemake for pools of a user's own: the space that costs least first, then the others."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas.commands import command_line
from atlas.networks.peft_adapters import no_weights
from atlas.own_models.found import FoundModel

# What is mapped, the space that costs least first; of models that change no weights, only the last.
SPACES = ("direct_effects", "weight_deltas", "delta_activations")
# Seconds on one core with a base of MEASURED_BILLIONS, from the benchmarks of the default
# configuration: once for a run, once for each base, and for each model.
MEASURED_BILLIONS = 0.135
OF_RUN, OF_BASE, OF_MODEL = 15.0, 15.0, 1.5


@dataclass(frozen=True)
class Size:
    """What decides how long a pool takes.

    :param billions: parameters of its base; None where they are not known.
    """

    models: int
    billions: float | None


def spaces_of(models: Iterable[FoundModel]) -> tuple[str, ...]:
    """Spaces in which all of some models have a place."""
    changed = not any(model.adapter and no_weights(dict(model.settings)) for model in models)
    return SPACES if changed else SPACES[-1:]


def seconds(sizes: Iterable[Size]) -> float | None:
    """How long pools may take on one core, downloads aside; None where a base's size is not known.

    Reading a base, and a model through it, takes time in proportion to the parameters of the base.
    """
    total = OF_RUN
    for size in sizes:
        if size.billions is None:
            return None
        share = max(1.0, size.billions / MEASURED_BILLIONS)
        total += share * (OF_BASE + OF_MODEL * size.models)
    return total


def has_map(pool: str, space: str) -> bool:
    """Whether an earlier run has mapped a pool in a space: then there is no first map to hurry for."""
    return Path(f"results/pools/{pool}/{space}/map.csv").is_file()


def targets(pools: Iterable[str]) -> list[str]:
    """What is asked for: the page of each pool, and its table of neighbours."""
    return [f"results/pools/{pool}/{file}" for pool in pools
            for file in ("neighbours.csv", "navigator.html")]  # fmt: skip


def snakemake(
    pools: Sequence[str], files: Sequence[Path | str], cores: int, more: Sequence[str],
    only: str | None = None,
) -> int:  # fmt: skip
    """Run Snakemake.

    :param files: configurations. :param more: further options. :param only: the one space of this run.
    :returns: its exit status.
    """
    if only:
        entries = ", ".join(f"{pool}: {{spaces: [{only}]}}" for pool in pools)
        more = ["--config", f"pools={{{entries}}}", *more]
    line = command_line(targets(pools), cores, files, more)
    return subprocess.run(line, check=False).returncode
