"""SHA-256 of files, computed once per run and node whatever the number of jobs that ask."""

import hashlib
import sqlite3
from pathlib import Path

from filelock import FileLock

from atlas.digests import sha256_file


class DigestCache:
    """Digests of one run on one node, keyed by what the file system says of a file.

    A file is taken as unchanged while its device, inode, size and both time stamps are; the
    cache belongs to a run, so that a verification never trusts it. Locks stand beside it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
        # Another run does not read it: what a crash of the machine may do to it does not matter.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE IF NOT EXISTS digests (key TEXT PRIMARY KEY, sha256 TEXT)")

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file; a second job that asks meanwhile waits for the first one's answer."""
        key = self._key(path)
        if found := self._find(key):
            return found
        name = f"{self._path.name}.{hashlib.sha256(key.encode()).hexdigest()[:2]}.lock"
        with FileLock(self._path.with_name(name)):
            if found := self._find(key):
                return found
            digest = sha256_file(path)
            self._keep(key, digest)
        return digest

    def put(self, path: Path, digest: str) -> None:
        """Remember the digest of a file as it is now."""
        self._keep(self._key(path), digest)

    def _find(self, key: str) -> str | None:
        row = self._db.execute("SELECT sha256 FROM digests WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def _keep(self, key: str, digest: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO digests VALUES (?, ?)", (key, digest))

    @staticmethod
    def _key(path: Path) -> str:
        s = path.stat()
        return f"{s.st_dev}:{s.st_ino}:{s.st_size}:{s.st_mtime_ns}:{s.st_ctime_ns}"
