"""SHA-256 of files as they are now, each read once, on all cores."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from atlas.digests import sha256_file


class FileDigests:
    """SHA-256 of files, by inode; never taken from a cache."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], str] = {}
        self.bytes = 0

    def read(self, paths: Iterable[Path]) -> None:
        """Hash files, the largest first."""
        there = {_inode(path): path for path in paths if path.is_file()}
        new = {path: key for key, path in there.items() if key not in self._known}
        sizes = {path: path.stat().st_size for path in new}
        order = sorted(new, key=sizes.__getitem__, reverse=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, digest in zip(order, pool.map(sha256_file, order), strict=True):
                self._known[new[path]] = digest
        self.bytes += sum(sizes.values())

    def of(self, path: Path) -> str | None:
        """SHA-256 of a file, or None where there is none."""
        if not path.is_file():
            return None
        if _inode(path) not in self._known:
            self.read([path])
        return self._known[_inode(path)]


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
