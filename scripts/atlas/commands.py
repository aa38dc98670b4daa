"""Snakemake, as the programs of this workflow call it."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from atlas.files import WORKFLOW_FOLDER

DRY = {"-n", "--dry-run", "--dryrun"}


def command_line(
    targets: Iterable[str], cores: int, files: Iterable[Path | str], more: Sequence[str]
) -> list[str]:
    """The command that makes targets in the working folder; the first three words call Snakemake.

    :param files: configurations. :param more: further options.
    """
    command = [sys.executable, "-m", "snakemake", *targets, "--cores", str(cores)]
    if not Path("Snakefile").is_file():
        command += ["--snakefile", str(WORKFLOW_FOLDER / "Snakefile")]
    return [*command, "--resources", "gpu=1", "--configfile", *map(str, files), *more]
