"""What lies below results/ and no configuration wants any more."""

import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atlas import owners
from atlas.errors import AtlasError
from atlas.files import owner_of
from atlas.job.attempts import ATTEMPTS, RUN_FILE, now, read_record, user
from atlas.job.deathwatch import is_alive
from atlas.job.environment import WORK
from atlas.job.execution import OWNER_FILE
from atlas.job.history import append
from atlas.job.records import BrokenRecordError, Records
from atlas.job.statements import RESULTS, is_artefact
from atlas.lineage._dry_run import makeable
from atlas.lineage.explain import own_configfiles


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
    asked = [[file] for file in configfiles] or _of_earlier_runs(records.root)
    there = [files for files in asked if all((records.root / f).is_file() for f in files)]
    found = Stale([[], *(files for files in there if files)])
    found.gone = sorted({f for files in asked for f in files if not (records.root / f).is_file()})
    names = records.attested()
    wanted = {
        name for files in found.configurations for name in makeable(records.root, files, names)
    }
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
    runs = map(read_record, (records.root / ATTEMPTS).glob(f"*/{RUN_FILE}"))
    living = any(is_alive(str(run.get("run"))) for run in runs)
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


def _of_earlier_runs(root: Path) -> list[list[str]]:
    """Configuration files of all runs, beyond the default, each list once."""
    runs = map(read_record, sorted((root / ATTEMPTS).glob(f"*/{RUN_FILE}")))
    return [
        list(files) for files in dict.fromkeys(tuple(own_configfiles(run)) for run in runs if run)
    ]


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
