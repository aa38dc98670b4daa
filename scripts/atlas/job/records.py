"""The statements of a results folder, read and checked against their own digests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import STAGE_MARK

RESULTS = "results"
PROVENANCE = f"{RESULTS}/provenance"
CRATES = f"{RESULTS}/crates"
STATEMENTS = f"{PROVENANCE}/statements"
ATTESTATIONS = f"{PROVENANCE}/attestations"
CRATE_FILE = "ro-crate-metadata.json"
SEAL = "manifest-sha256.txt"  # of a crate: digest and path of every file, as in a BagIt folder
# model-signing signs a folder: this one holds the manifest and nothing else.
MANIFEST = f"{PROVENANCE}/manifest/manifest.json"
SIGNATURE = f"{PROVENANCE}/manifest.sig"


class BrokenRecordError(AtlasError):
    """A statement that is not what its own digest says."""


@dataclass(frozen=True)
class Statement:
    """One job's attestation: an in-toto Statement v1 with a SLSA Provenance v1 predicate."""

    digest: str
    content: dict[str, Any]

    @cached_property
    def _definition(self) -> dict[str, Any]:
        return dict(self.content["predicate"]["buildDefinition"])

    @property
    def rule(self) -> str:
        """Name of the rule."""
        return str(self._definition["externalParameters"]["rule"])

    @property
    def wildcards(self) -> dict[str, str]:
        """Wildcards of the job."""
        return dict(self._definition["externalParameters"]["wildcards"])

    @property
    def params(self) -> dict[str, Any]:
        """What the job read of the configuration."""
        return dict(self._definition["externalParameters"]["params"])

    @property
    def code(self) -> dict[str, Any]:
        """Function, modules and distributions behind the rule (:func:`atlas.job.closures.closure`)."""
        return dict(self._definition["internalParameters"]["code"])

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Path -> SHA-256 of each file that the job wrote."""
        return {s["name"]: s["digest"]["sha256"] for s in self.content["subject"]}

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Path -> SHA-256 of each file that the job read."""
        return {
            d["uri"]: d["digest"]["sha256"]
            for d in self._definition["resolvedDependencies"]
            if "digest" in d
        }

    @cached_property
    def input_names(self) -> dict[str, str]:
        """Path -> name under which the rule declares the input."""
        return {
            d["uri"]: d["annotations"]["input"]
            for d in self._definition["resolvedDependencies"]
            if "annotations" in d
        }

    @cached_property
    def output_names(self) -> dict[str, str]:
        """Path -> name under which the rule declares the output."""
        return {s["name"]: s["annotations"]["output"] for s in self.content["subject"]}

    @cached_property
    def temporary(self) -> dict[str, int]:
        """Outputs that are deleted once they were read -> their size in bytes."""
        return {
            s["name"]: int(s["annotations"]["bytes"])
            for s in self.content["subject"]
            if s["annotations"].get("temporary")
        }

    @cached_property
    def packages(self) -> dict[str, str]:
        """Distribution -> version, all that were installed."""
        return {
            d["name"]: d["uri"].rpartition("@")[2]
            for d in self._definition["resolvedDependencies"]
            if d["uri"].startswith("pkg:pypi/")
        }

    @property
    def execution(self) -> dict[str, Any]:
        """Host, device and interpreter of the execution."""
        return dict(self.content["predicate"]["runDetails"]["delta_atlas_execution"])

    @property
    def started(self) -> str:
        """Start, ISO 8601."""
        return str(self.content["predicate"]["runDetails"]["metadata"]["startedOn"])

    @property
    def finished(self) -> str:
        """End, ISO 8601."""
        return str(self.content["predicate"]["runDetails"]["metadata"]["finishedOn"])

    @property
    def run(self) -> str:
        """Identity of the run."""
        return str(self.content["predicate"]["runDetails"]["metadata"]["invocationId"])

    @property
    def job(self) -> str:
        """The job in words: rule and wildcards."""
        return " ".join([self.rule, *(v for _, v in sorted(self.wildcards.items()))])


def _read_all(found: Statement) -> None:
    """Look at every part of a statement that anything here asks for.

    :raises KeyError, TypeError, AttributeError: where one is not there.
    """
    names = {*found.input_names, *found.output_names, *found.temporary, *found.packages}
    parts = (found.outputs, found.inputs, found.wildcards, found.params, found.execution, names)
    texts = (found.rule, found.started, found.finished, found.run, found.code["function"])
    tables = (found.code["modules"], found.code["distributions"])
    if not (all(isinstance(t, str) for t in texts) and all(isinstance(t, dict) for t in tables)):
        raise TypeError(f"{parts}")


class Records:
    """All statements below one root: the folder that holds results/, or a crate."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._known: dict[Path, Statement] = {}
        self._makers: dict[tuple[str, str], Statement] | None = None

    def path(self, name: str) -> Path:
        """Where an artefact or a source stands (names in statements are relative to the root)."""
        return self.root / Path(name).expanduser()

    def mirror(self, name: str) -> Path:
        """The pointer to the newest statement of an artefact."""
        return self.root / ATTESTATIONS / f"{name.removeprefix(RESULTS + '/')}.json"

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

    def by_digest(self, digest: str) -> Statement | None:
        """A statement by its SHA-256, also one that was replaced since."""
        place = self.root / STATEMENTS / digest[:2] / f"{digest}.json"
        return self._read(place) if place.is_file() else None

    def _read(self, place: Path) -> Statement:
        data = place.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        stored = self.root / STATEMENTS / digest[:2] / f"{digest}.json"
        named_otherwise = place.parent.parent.name == "statements" and place.stem != digest
        if named_otherwise or not stored.is_file():
            raise BrokenRecordError(
                f"{self._relative(place)}: the statement was altered: its SHA-256 is {digest[:12]}…"
            )
        try:
            found = Statement(digest, json.loads(data))
            _read_all(found)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BrokenRecordError(
                f"{self._relative(place)}: is not an attestation of a job."
            ) from None
        return found

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
            if place.name != f"{digest}.json" or place.parent.name != digest[:2]:
                yield self._relative(place), digest

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
        try:
            return place.relative_to(self.root).as_posix()
        except ValueError:
            return str(place)


def open_records(place: Path) -> Records:
    """Records of a results folder, of the folder that holds it, or of a crate.

    :raises AtlasError: where there are none.
    """
    for root in (place, place.parent if place.name == RESULTS else place):
        if (root / PROVENANCE).is_dir():
            return Records(root)
    raise AtlasError(f"{place}: holds no {PROVENANCE}; give a results folder or an unpacked crate.")
