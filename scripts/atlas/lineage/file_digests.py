"""SHA-256 of files as they are now, each read once, on all cores."""

import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from atlas.digests import sha256_file

UNREADABLE = ""  # in the place of a digest


class FileDigests:
    """SHA-256 of files, by inode; never taken from a cache."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], str] = {}
        self.bytes = 0

    def read(self, paths: Iterable[Path]) -> None:
        """Hash files, the largest first."""
        there = {_inode(found): (path, found.st_size) for path in paths if (found := _file(path))}
        new = {key: place for key, place in there.items() if key not in self._known}
        order = sorted(new, key=lambda key: new[key][1], reverse=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for key, digest in zip(
                order, pool.map(_digest, (new[k][0] for k in order)), strict=True
            ):
                self._known[key] = digest
        self.bytes += sum(size for _, size in new.values())

    def of(self, path: Path) -> str | None:
        """SHA-256 of a file; None where there is none, :data:`UNREADABLE` where it cannot be read."""
        if not (found := _file(path)):
            return None
        if _inode(found) not in self._known:
            self.read([path])
        return self._known[_inode(found)]


def _file(path: Path) -> os.stat_result | None:
    """What the file system says of a file; None of what is no file, or cannot be one."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return UNREADABLE


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
