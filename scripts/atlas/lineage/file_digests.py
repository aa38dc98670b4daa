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
        new: dict[tuple[int, int], tuple[int, Path]] = {}
        for path in paths:
            if path.is_file() and (key := _inode(path)) not in self._known:
                new[key] = (path.stat().st_size, path)
        order = sorted(new, key=lambda key: -new[key][0])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            digests = pool.map(sha256_file, [new[key][1] for key in order])
            self._known.update(zip(order, digests, strict=True))
        self.bytes += sum(size for size, _ in new.values())

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
