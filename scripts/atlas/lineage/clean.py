"""What lies below results/ and no configuration wants any more."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from atlas import owners
from atlas.errors import AtlasError
from atlas.files import owner_of
from atlas.job.attempts import now, read_runs, user
from atlas.job.deathwatch import is_alive
from atlas.job.environment import WORK
from atlas.job.execution import OWNER_FILE
from atlas.job.history import append
from atlas.job.records import BrokenRecordError, Records
from atlas.job.statements import RESULTS, is_artefact
from atlas.lineage._dry_run import Command, makeable
from atlas.lineage.explain import command_of, last_command


@dataclass
class Stale:
    """What may go.

    :param configurations: those that were asked, each by its files beyond the default.
    :param gone: files of configurations of earlier runs that are not there any more.
    :param files: artefacts that none of them makes, and that nothing they make was made from.
    :param behind: artefacts that none of them makes, but something that they make was made from.
    :param left: what runs left half-made of which this machine does not know whether they live.
    """

    configurations: list[list[str]]
    gone: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    bytes: int = 0
    removed: bool = False

    def folders(self) -> dict[str, int]:
        """Folder -> number of its files that may go."""
        found: dict[str, int] = defaultdict(int)
        for name in self.files:
            found[name.rpartition("/")[0]] += 1
        return dict(found)


def stale(records: Records, configfiles: Sequence[str]) -> Stale:
    """Ask configurations what they could make.

    :param configfiles: each a configuration of its own, over the default; none: those of earlier runs.
    """
    default = replace(last_command(records.root), configfiles=())
    asked = [replace(default, configfiles=(str(records.root / f),)) for f in configfiles]
    asked = asked or _of_earlier_runs(records.root)
    lost = {f for command in asked for f in command.configfiles if not Path(f).is_file()}
    there = [command for command in asked if not lost & set(command.configfiles)]
    commands = dict.fromkeys([default, *there])

    def name(file: str) -> str:
        return os.path.relpath(file, records.root)

    found = Stale([list(map(name, command.configfiles)) for command in commands])
    found.gone = sorted(map(name, lost))
    names = records.attested()
    wanted = {made for command in commands for made in makeable(command, names)}
    needed = _behind(records, wanted)
    found.files = [name for name in names if name not in wanted | needed]
    found.behind = [name for name in names if name in needed - wanted]
    found.left = _left(records)
    sizes = (records.path(name) for name in found.files)
    found.bytes = sum(place.stat().st_size for place in sizes if place.is_file())
    return found


def remove(records: Records, found: Stale) -> None:
    """Remove what may go; the history has a line of it.

    :raises AtlasError: where a run goes on.
    """
    living = any(is_alive(str(run.get("run"))) for run in read_runs(records.root))
    if living or any((records.root / ".snakemake/locks").glob("*")):
        raise AtlasError(
            "a run goes on in this folder, or was killed (snakemake --unlock); nothing was removed."
        )
    if found.files:
        by = {"user": user(), "host": owners.machine(), "ended": now()}
        append(records.root, {"removed": found.files, **by})
    for name in found.files:
        for place in (records.path(name), records.mirror(name)):
            place.unlink(missing_ok=True)
            _prune(place.parent, records.root / RESULTS)
    for name in found.left:
        place = records.root / name
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    found.removed = True


def _prune(folder: Path, top: Path) -> None:
    """Remove folders in which nothing is left."""
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _of_earlier_runs(root: Path) -> list[Command]:
    """What all runs were given, each once."""
    return list(dict.fromkeys(command_of(root, run) for run in read_runs(root)))


def _behind(records: Records, names: Iterable[str]) -> set[str]:
    """Artefacts from which some are made, as they are now."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        try:
            made = records.statement(queue.pop())
        except BrokenRecordError:
            continue
        if made is None:
            continue
        # What one job made stays together.
        new = {path for path in (*made.inputs, *made.outputs) if is_artefact(path)} - found
        found |= new
        queue += new
    return found


def _left(records: Records) -> list[str]:
    """What is half-made, and not by a run that is known to live."""
    names = [n for n in records.unfinished() if not owners.is_alive(owner_of(n) or "")]
    for folder in sorted((records.root / WORK / "scratch").glob("*")):
        file = folder / OWNER_FILE
        if not (file.is_file() and owners.is_alive(file.read_text(errors="replace"))):
            names.append(folder.relative_to(records.root).as_posix())
    return names
