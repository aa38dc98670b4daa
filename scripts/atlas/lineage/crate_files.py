"""The files of a crate: what its metadata and its seal say of them."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import read_bounded, write_bytes
from atlas.job.records import SEAL
from atlas.job.statements import Statement


@dataclass(frozen=True)
class CrateFile:
    """A file of a crate.

    :param path: place below the crate, or, for one that is not included, below the root of the
        workflow (or its absolute path).
    :param size: bytes.
    :param included: whether it is in the crate; else it is known by its address and digest only.
    """

    path: str
    sha256: str
    size: int
    included: bool = True


def is_included(path: str, made: Statement | None) -> bool:
    """Whether a file goes into a crate itself: downloaded weights do not, nor files elsewhere."""
    place = PurePosixPath(path)
    if made is not None:
        return place.suffix != ".safetensors" or not made.rule.startswith("fetch_")
    outside = place.is_absolute() or ".." in place.parts or path.startswith("~")
    return not outside and place.suffix != ".safetensors"


def crate_files(metadata: Any) -> list[CrateFile]:
    """Read the files back that a crate's metadata describe, in their order.

    :returns: one that is not included stands there once for each path at which the workflow had it.
    :raises AtlasError: where the metadata lack the digest, size or path of a file.
    """
    graph = metadata.get("@graph", []) if isinstance(metadata, dict) else None
    if not isinstance(graph, list):
        raise AtlasError("the crate's metadata: are no list of entities; write the crate again.")
    found = []
    for entity in graph:
        kinds = entity.get("@type", []) if isinstance(entity, dict) else []
        if "File" not in (kinds if isinstance(kinds, list) else [kinds]):
            continue
        identifier = str(entity.get("@id"))
        digest, size = entity.get("sha256"), entity.get("contentSize")
        if not (isinstance(digest, str) and re.fullmatch(r"[0-9]{1,18}", str(size))):
            raise AtlasError(
                f"the crate's metadata: {identifier} has no sha256 and contentSize; write the "
                "crate again."
            )
        included = not _is_address(identifier)
        names = unquote(identifier) if included else entity.get("alternateName", [])
        names = [name for name in (names if isinstance(names, list) else [names]) if _is_path(name)]
        if not names:
            raise AtlasError(
                f"the crate's metadata: {identifier} is not in the crate and has no alternateName; "
                "write the crate again."
            )
        found += [CrateFile(name, digest, int(size), included) for name in names]
    return found


def _is_address(identifier: str) -> bool:
    try:
        return bool(urlsplit(identifier).scheme)
    except ValueError:
        return False


def _is_path(name: Any) -> bool:
    return isinstance(name, str) and bool(name) and "\0" not in name


def seal(folder: Path, more: dict[str, str], skip: Path) -> None:
    """Write the digests of all files of a crate, of those that will come among them.

    :param more: path -> SHA-256 of files that are not there yet.
    :param skip: a file that is about to have another name.
    """
    lines = {
        file.relative_to(folder).as_posix(): sha256_file(file)
        for file in folder.rglob("*")
        if file.is_file() and file != skip
    }
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted({**lines, **more}.items()))
    write_bytes(folder / SEAL, text.encode())


def read_seal(folder: Path) -> dict[str, str]:
    """Path -> SHA-256 of a crate's files, as they were when it was written; empty without a seal.

    :raises AtlasError: for a line that is none of a seal.
    """
    file = folder / SEAL
    if not file.is_file():
        return {}
    found = {}
    try:
        text = read_bounded(file).decode(errors="replace")
    except ValueError as error:
        raise AtlasError(f"{file}: {error}.") from None
    for line in text.splitlines():
        digest, gap, name = line.partition("  ")
        if not (gap and _is_path(name) and re.fullmatch(r"[0-9a-f]{64}", digest)):
            raise AtlasError(f"{file}: has a line that is not a digest and a path: {line[:80]!r}.")
        found[name] = digest
    return found
