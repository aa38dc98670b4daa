"""The files of a crate: what its metadata and its seal say of them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import write_bytes
from atlas.job.records import SEAL


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


def crate_files(metadata: dict[str, Any]) -> list[CrateFile]:
    """Read the files back that a crate's metadata describe, in their order.

    :returns: one that is not included stands there once for each path at which the workflow had it.
    :raises AtlasError: where the metadata lack the digest, size or path of a file.
    """
    found = []
    for entity in metadata.get("@graph", []):
        kinds = entity.get("@type", [])
        if "File" not in (kinds if isinstance(kinds, list) else [kinds]):
            continue
        identifier = str(entity.get("@id"))
        included = not urlsplit(identifier).scheme
        names = unquote(identifier) if included else entity.get("alternateName", [])
        try:
            digest, size = str(entity["sha256"]), int(entity["contentSize"])
        except (KeyError, TypeError, ValueError):
            raise AtlasError(
                f"the crate's metadata: {identifier} has no sha256 and contentSize; write the "
                "crate again."
            ) from None
        if not names:
            raise AtlasError(
                f"the crate's metadata: {identifier} is not in the crate and has no alternateName; "
                "write the crate again."
            )
        names = names if isinstance(names, list) else [names]
        found += [CrateFile(name, digest, size, included) for name in names]
    return found


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
    for line in file.read_bytes().decode(errors="replace").splitlines():
        digest, gap, name = line.partition("  ")
        if not (gap and name and re.fullmatch(r"[0-9a-f]{64}", digest)):
            raise AtlasError(f"{file}: has a line that is not a digest and a path: {line[:80]!r}.")
        found[name] = digest
    return found
