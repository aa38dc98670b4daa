"""SHA-256 of files, computed once per run and node whatever the number of jobs that ask."""

import hashlib
import os
import sqlite3
from pathlib import Path
from typing import Any

from filelock import FileLock

from atlas import owners
from atlas.digests import sha256_file
from atlas.job.environment import WORK
from atlas.job.replaced import replace


class DigestCache:
    """Digests of one run on one node, keyed by what the file system says of a file.

    A file is taken as unchanged while its device, inode, size and both time stamps are; the
    cache belongs to a run, so that a verification never trusts it. Locks stand beside it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
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

    def known(self, path: Path) -> str | None:
        """SHA-256 of a file where it is known as it is now."""
        return self._find(self._key(path))

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


def of_run(identity: str) -> DigestCache:
    """The cache of a run on this node."""
    return DigestCache(WORK / "digests" / f"{owners.owner(identity)}-{os.uname().nodename}.sqlite")


def reach_snakemake(cache: DigestCache) -> None:
    """In the main process: let Snakemake take SHA-256 from the cache of the run.

    For each output of each job it computes that of each input: of a base, many times for each model.
    And what a job made it touches, which would make the digest that the job has computed unknown.
    """
    from snakemake.io import _IOFile

    replace(_IOFile, "checksum", lambda computed: _known_to(cache, computed))
    replace(_IOFile, "touch", lambda plain: _known_after(cache, plain))


def _known_after(cache: DigestCache, plain: Any) -> Any:
    def touch(self: Any, times: Any = None) -> None:
        file = Path(self)
        digest = cache.known(file) if file.is_file() else None
        plain(self, times)
        if digest:
            cache.put(file, digest)

    return touch


def _known_to(cache: DigestCache, computed: Any) -> Any:
    async def checksum(
        self: Any, threshold: int | None = None, force: bool = False, algorithm: Any = None
    ) -> str | None:
        known = algorithm in (None, "sha256") and not (force or self.is_storage)
        if known and await self.is_checksum_eligible(threshold):
            return f"sha256:{cache.sha256(Path(self))}"
        found: str | None = await computed(self, threshold, force, algorithm)
        return found

    return checksum
