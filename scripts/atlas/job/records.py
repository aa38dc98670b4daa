"""The statements of a results folder, read and checked against their own digests."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import WORKFLOW_FOLDER, owner_of, read_bounded
from atlas.guarded_json import parse_json
from atlas.job import statements
from atlas.job.attempts import read_runs
from atlas.job.statements import ATTESTATIONS, PROVENANCE, RESULTS, STATEMENTS, Statement

WORKFLOW_PARTS = ("resources/", "notebooks/")  # files of the workflow that jobs read
CRATES = f"{RESULTS}/crates"
CRATE_FILE = "ro-crate-metadata.json"
SEAL = "manifest-sha256.txt"  # of a crate: digest and path of every file, as in a BagIt folder
# model-signing signs a folder: this one holds the manifest and nothing else.
MANIFEST = f"{PROVENANCE}/manifest/manifest.json"
SIGNATURE = f"{PROVENANCE}/manifest.sig"
HISTORY = f"{PROVENANCE}/history.jsonl"
NOTICES = f"{PROVENANCE}/notices"
# Paths of all kinds of records.
RECORD = re.compile(
    rf"{STATEMENTS}/[0-9a-f]{{2}}/[0-9a-f]{{64}}\.json|{ATTESTATIONS}/.+\.json|{HISTORY}"
    rf"|{PROVENANCE}/(attempts/[0-9a-f]{{12}}|revisions|notices)/[^/]+\.json|{MANIFEST}|{SIGNATURE}"
)
# What is no file there is told of by the artefact that points to it, or by the name of its digest.
POINTED = (f"{ATTESTATIONS}/", f"{STATEMENTS}/")


class BrokenRecordError(AtlasError):
    """A statement that is not what its own digest says."""


class Records:
    """All statements below one root: the folder that holds results/, or a crate."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._known: dict[Path, Statement] = {}
        self._makers: dict[tuple[str, str], Statement] | None = None

    @cached_property
    def workflow(self) -> Path | None:
        """The folder of the workflow that made the results, where it is known: the root, or this one."""
        if (self.root / "scripts" / "atlas").is_dir():
            return self.root
        here = str(WORKFLOW_FOLDER)
        return (
            WORKFLOW_FOLDER
            if any(run.get("workflow") == here for run in read_runs(self.root))
            else None
        )

    def path(self, name: str) -> Path:
        """Where an artefact or a source stands (names in statements are relative to the root)."""
        own = self.workflow if name.startswith(WORKFLOW_PARTS) else None
        if own and (own / name).is_file():
            return own / name
        try:
            return self.root / Path(name).expanduser()
        except RuntimeError:  # a home of nobody here
            return self.root / name

    def name(self, text: str) -> str:
        """A file as statements call it: relative to the root, from the root or from here."""
        name = os.path.normpath(text)
        inside = not Path(text).is_absolute()
        if inside and ((self.root / name).exists() or self.mirror(name).exists()):
            return Path(name).as_posix()
        place = Path(name).absolute()
        for found in (place, place.parent.resolve() / place.name):
            if found.is_relative_to(self.root):
                return found.relative_to(self.root).as_posix()
        return name

    @property
    def is_crate(self) -> bool:
        """Whether this is an unpacked crate: a run has its history, and is no crate whatever else it has."""
        return (self.root / CRATE_FILE).is_file() and not (self.root / HISTORY).exists()

    def mirror(self, name: str) -> Path:
        """The pointer to the newest statement of an artefact."""
        return self.root / statements.pointer_to(name)

    def statement(self, name: str) -> Statement | None:
        """The newest statement of an artefact, or None where it has none.

        :raises BrokenRecordError: where the statement is not whole, or not of this artefact.
        """
        pointer = self.mirror(name)
        try:
            place = pointer.resolve(strict=True) if pointer.is_symlink() else pointer
            if not place.exists():
                return None
        except (OSError, RuntimeError):  # nothing there, a circle, or a name that none can have
            raise BrokenRecordError(f"{self._relative(pointer)}: points to nothing.") from None
        found = self._known.get(place) or self._read(place)
        self._known[place] = found
        if name not in found.outputs:
            raise BrokenRecordError(f"{self._relative(pointer)}: is a statement of other files.")
        return found

    def pointed(self, name: str) -> str | None:
        """SHA-256 of the newest statement of an artefact, as its pointer has it; nothing is read."""
        try:  # thousands are asked: paths as texts
            target = os.readlink(f"{self.root}/{statements.pointer_to(name)}")  # noqa: PTH115
            return target.rpartition("/")[2].removesuffix(".json")
        except OSError:  # none, or a crate, whose pointers are files
            made = Records.statement(self, name) if self.mirror(name).is_file() else None
            return made.digest if made else None

    def _read(self, place: Path) -> Statement:
        where = self._relative(place)
        try:
            data = read_bounded(place)
            digest = hashlib.sha256(data).hexdigest()
            named_otherwise = place.parent.parent.name == "statements" and place.stem != digest
            if named_otherwise or not (self.root / statements.place_of(digest)).is_file():
                raise BrokenRecordError(
                    f"{where}: the statement was altered: its SHA-256 is {digest[:12]}…"
                )
            return statements.parse(parse_json(data), digest)
        except BrokenRecordError:
            raise
        except (AtlasError, ValueError, KeyError, TypeError, AttributeError):
            raise BrokenRecordError(f"{where}: is not an attestation of a job.") from None
        except OSError as error:
            raise BrokenRecordError(f"{where}: cannot be read ({error.strerror}).") from None

    def stored(self, digest: str) -> Statement | None:
        """The statement with a SHA-256, also one that was replaced since; None where there is none.

        :raises BrokenRecordError: where it is not whole.
        """
        place = self.root / statements.place_of(digest)
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not place.is_file():
            return None
        return self._read(place)

    def all_statements(self) -> Iterator[Statement]:
        """Every stored statement that is whole, those that were replaced since among them."""
        for place in sorted((self.root / STATEMENTS).glob("*/[!.]*.json")):
            with contextlib.suppress(BrokenRecordError):
                yield self._read(place)

    def maker(self, name: str, digest: str) -> Statement | None:
        """The newest statement of a file with these bytes, also one that was replaced since.

        :raises BrokenRecordError: where the newest statement of the file is not whole.
        """
        newest = self.statement(name)
        if newest is not None and newest.outputs[name] == digest:
            return newest
        if self._makers is None:
            every = sorted(self.all_statements(), key=lambda s: s.finished)
            self._makers = {(p, d): s for s in every for p, d in s.outputs.items()}
        return self._makers.get((name, digest))

    def broken_statements(self) -> Iterator[tuple[str, str | None]]:
        """Stored statements whose bytes are not those of their name: (path, SHA-256 found)."""
        for place in sorted((self.root / STATEMENTS).glob("*/[!.]*")):
            name, digest = self._relative(place), None
            with contextlib.suppress(OSError):
                digest = sha256_file(place) if place.is_file() else None
            if digest is None or name != statements.place_of(digest):
                yield name, digest

    @cached_property
    def found(self) -> list[str]:
        """All that stands below results/ and is no folder, links to folders among it, sorted.

        A link to a folder in which artefacts stand is gone through as the folder is. Of a crate, its
        metadata stand for all of it.
        """
        known = self.attested()
        found, queue = [], [RESULTS]
        while queue:
            folder = queue.pop()
            try:
                with os.scandir(self.root / folder) as entries:
                    listed = {entry.name: entry for entry in entries}
            except OSError:
                found.append(folder)
                continue
            if folder.startswith(f"{CRATES}/") and CRATE_FILE in listed:
                found.append(f"{folder}/{CRATE_FILE}")
                continue
            for name, entry in listed.items():
                place = f"{folder}/{name}"
                if entry.is_dir(follow_symlinks=False) or (
                    _is_folder(self.root / place)
                    and any(path.startswith(f"{place}/") for path in known)
                ):
                    queue.append(place)
                else:
                    found.append(place)
        return sorted(found)

    def artefacts(self) -> list[str]:
        """What stands below results/ where jobs make files, sorted."""
        inside = f"{PROVENANCE}/"
        return [n for n in self.found if not n.startswith(inside) and owner_of(n) is None]

    def foreign(self) -> list[str]:
        """What stands among the records and is none, sorted."""
        among = [n for n in self.found if n.startswith(f"{PROVENANCE}/") and owner_of(n) is None]
        return [
            name for name in among
            if not RECORD.fullmatch(name)
            or not (name.startswith(POINTED) or _is_file(self.root / name))
        ]  # fmt: skip

    def unfinished(self) -> list[str]:
        """What stands below results/ under the name of a file that a job has not finished, sorted."""
        return [name for name in self.found if owner_of(name) is not None]

    def attested(self) -> list[str]:
        """Artefacts that have a pointer to a statement, sorted."""
        top = self.root / ATTESTATIONS
        return sorted(
            f"{RESULTS}/{file.relative_to(top).as_posix().removesuffix('.json')}"
            for file in top.rglob("*.json") if owner_of(file.name) is None
        )  # fmt: skip

    def _relative(self, place: Path) -> str:
        inside = place.is_relative_to(self.root)
        return place.relative_to(self.root).as_posix() if inside else str(place)


def _is_file(place: Path) -> bool:
    return os.path.isfile(place)  # noqa: PTH113 -- a link in a circle is none, and no error


def _is_folder(place: Path) -> bool:
    return os.path.isdir(place)  # noqa: PTH112


def open_records(place: Path) -> Records:
    """Records of a results folder, of the folder that holds it, or of a crate.

    :raises AtlasError: where there are none.
    """
    for root in (place, place.parent if place.name == RESULTS else place):
        if (root / PROVENANCE).is_dir():
            return Records(root)
    raise AtlasError(f"{place}: holds no {PROVENANCE}; give a results folder or an unpacked crate.")
