from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from snakemake.io import IOFile, _IOFile

from atlas.digests import sha256_file
from atlas.job import digest_cache
from atlas.job.digest_cache import DigestCache

SCRIPTS = Path(digest_cache.__file__).parents[2]


@pytest.fixture
def counted(monkeypatch):
    """Paths that were really read."""
    read = []

    def note(path):
        read.append(path)
        return sha256_file(path)

    monkeypatch.setattr(digest_cache, "sha256_file", note)
    return read


def test_cache_reads_a_file_once(tmp_path, counted):
    file = tmp_path / "a"
    file.write_bytes(b"one")
    cache = DigestCache(tmp_path / "run" / "digests.sqlite")
    assert cache.sha256(file) == cache.sha256(file) == hashlib.sha256(b"one").hexdigest()
    again = DigestCache(tmp_path / "run" / "digests.sqlite")
    assert again.sha256(file) == hashlib.sha256(b"one").hexdigest()
    assert counted == [file]


def test_cache_sees_a_change_behind_an_old_time_stamp(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"one")
    cache = DigestCache(tmp_path / "db")
    cache.sha256(file)
    stat = file.stat()
    time.sleep(0.02)  # time stamps may be those of a clock that ticks every 4 ms
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.sha256(file) == hashlib.sha256(b"two").hexdigest()


def test_cache_sees_a_replaced_file(tmp_path):
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"one")
    other.write_bytes(b"two")
    cache = DigestCache(tmp_path / "db")
    cache.sha256(file)
    other.replace(file)
    assert cache.sha256(file) == hashlib.sha256(b"two").hexdigest()


def test_cache_is_told_a_digest(tmp_path, counted):
    file = tmp_path / "a"
    file.write_bytes(b"one")
    cache = DigestCache(tmp_path / "db")
    cache.put(file, "known")
    assert cache.sha256(file) == "known"
    assert counted == []


# Each process tells of every file that it really reads.
ASK = """
import sys
from pathlib import Path
from atlas.job import digest_cache

read = digest_cache.sha256_file

def told(path):
    with open(sys.argv[2], "a") as log:
        log.write(path.name + chr(10))
    return read(path)

digest_cache.sha256_file = told
cache = digest_cache.DigestCache(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for name in sys.argv[3:]:
    print(cache.sha256(Path(name)))
"""


def ask_at_once(tmp_path, count, *files):
    """Digests by processes that ask at the same time, and the files that were read."""
    log = tmp_path / "log"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, tmp_path / "run.sqlite", log, *files], text=True,
            env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return answers, sorted(log.read_text().split())


def test_two_jobs_that_ask_at_once_read_a_file_once(tmp_path):
    file = tmp_path / "large"
    with file.open("wb") as handle:
        handle.truncate(256 << 20)  # long enough that the second asks while the first one reads
    expected = sha256_file(file)
    answers, read = ask_at_once(tmp_path, 2, file)
    assert answers == [[expected], [expected]]
    assert read == ["large"]


def test_several_jobs_and_many_files(tmp_path):
    files = [tmp_path / f"f{n}" for n in range(40)]
    for file in files:
        file.write_text(file.name)
    answers, read = ask_at_once(tmp_path, 3, *files)
    assert answers == [[hashlib.sha256(f.name.encode()).hexdigest() for f in files]] * 3
    assert read == sorted(f.name for f in files)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        DigestCache(tmp_path / "db").sha256(tmp_path / "no-such")


class Input(str):
    """A file as Snakemake has it, as far as its checksum goes."""

    is_storage = False

    async def is_checksum_eligible(self, threshold):
        return Path(self).is_file() and Path(self).stat().st_size <= threshold


def test_snakemake_takes_digests_from_the_cache(tmp_path, counted, monkeypatch):
    async def computed(self, threshold=None, force=False, algorithm=None):
        return f"computed {threshold} {force} {algorithm}"

    monkeypatch.setattr(_IOFile, "checksum", computed)
    monkeypatch.setattr(_IOFile, "touch", _IOFile.touch)
    for name in ("first", "second"):  # of the last run, where two follow each other in a process
        cache = DigestCache(tmp_path / name)
        digest_cache.reach_snakemake(cache)
    file = tmp_path / "a"
    file.write_bytes(b"one")
    expected = f"sha256:{hashlib.sha256(b'one').hexdigest()}"

    def ask(*given, **more):
        return asyncio.run(_IOFile.checksum(Input(file), *given, **more))

    assert ask(3) == ask(3) == ask(3, algorithm="sha256") == expected
    assert counted == [file]
    cache.put(file, "known")
    assert ask(3) == "sha256:known"
    assert ask(2) == "computed 2 False None"
    assert ask(3, algorithm="md5") == "computed 3 False md5"
    assert ask(None, force=True) == "computed None True None"
    file.unlink()
    assert ask(3) == "computed 3 False None"


def test_what_snakemake_touches_stays_known_and_what_was_altered_before_does_not(
    tmp_path, counted, monkeypatch
):
    for name in ("checksum", "touch"):
        monkeypatch.setattr(_IOFile, name, getattr(_IOFile, name))
    cache = DigestCache(tmp_path / "db")
    digest_cache.reach_snakemake(cache)
    file, altered = tmp_path / "a", tmp_path / "b"
    for one in (file, altered):
        one.write_bytes(b"one")
        cache.put(one, "known")
    altered.write_bytes(b"two!")
    for one in (file, altered):
        before = one.stat().st_mtime_ns
        time.sleep(0.02)
        IOFile(str(one)).touch()
        assert one.stat().st_mtime_ns > before
    assert cache.sha256(file) == "known"
    assert cache.sha256(altered) == hashlib.sha256(b"two!").hexdigest()
    assert counted == [altered]
