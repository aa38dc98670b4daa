"""The statements of a results folder, read and checked against their own digests."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from atlas.errors import AtlasError
from atlas.files import STAGE_MARK, WORKFLOW_FOLDER
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
        return self.root / Path(name).expanduser()

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
        except (OSError, RuntimeError):  # nothing there, or a circle
            raise BrokenRecordError(f"{self._relative(pointer)}: points to nothing.") from None
        if not place.is_file():
            return None
        found = self._known.get(place) or self._read(place)
        self._known[place] = found
        if name not in found.outputs:
            raise BrokenRecordError(f"{self._relative(pointer)}: is a statement of other files.")
        return found

    def _read(self, place: Path) -> Statement:
        data = place.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        named_otherwise = place.parent.parent.name == "statements" and place.stem != digest
        if named_otherwise or not (self.root / statements.place_of(digest)).is_file():
            raise BrokenRecordError(
                f"{self._relative(place)}: the statement was altered: its SHA-256 is {digest[:12]}…"
            )
        try:
            return statements.parse(json.loads(data), digest)
        except (ValueError, KeyError, TypeError, AttributeError):
            where = self._relative(place)
            raise BrokenRecordError(f"{where}: is not an attestation of a job.") from None

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

    def broken_statements(self) -> Iterator[tuple[str, str]]:
        """Stored statements whose bytes are not those of their name: (path, SHA-256 found)."""
        for place in sorted((self.root / STATEMENTS).glob("*/[!.]*")):
            digest = hashlib.sha256(place.read_bytes()).hexdigest()
            if (name := self._relative(place)) != statements.place_of(digest):
                yield name, digest

    def artefacts(self) -> list[str]:
        """Files below results/ that jobs make, sorted; the contents of crates are not among them."""
        found: list[str] = []
        top = self.root / RESULTS
        for place, folders, names in os.walk(top):
            if Path(place) == top:
                folders[:] = [f for f in folders if f != "provenance"]
            relative = Path(place).relative_to(self.root).as_posix()
            if f"{relative}/".startswith(f"{CRATES}/"):
                if CRATE_FILE in names:
                    found.append(f"{relative}/{CRATE_FILE}")
                    folders.clear()
                continue
            found += [f"{relative}/{name}" for name in names if STAGE_MARK not in name]
        return sorted(found)

    def attested(self) -> list[str]:
        """Artefacts that have a pointer to a statement, sorted."""
        top = self.root / ATTESTATIONS
        return sorted(
            f"{RESULTS}/{file.relative_to(top).as_posix().removesuffix('.json')}"
            for file in top.rglob("*.json")
        )

    def _relative(self, place: Path) -> str:
        inside = place.is_relative_to(self.root)
        return place.relative_to(self.root).as_posix() if inside else str(place)


def open_records(place: Path) -> Records:
    """Records of a results folder, of the folder that holds it, or of a crate.

    :raises AtlasError: where there are none.
    """
    for root in (place, place.parent if place.name == RESULTS else place):
        if (root / PROVENANCE).is_dir():
            return Records(root)
    raise AtlasError(f"{place}: holds no {PROVENANCE}; give a results folder or an unpacked crate.")
