"""Wheels, sdists and compressed files: members are taken as bytes, within a folder and within bounds."""

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, NoReturn

from atlas.errors import AtlasError

# What may come out of a file: so much, or so many times its size. Text shrinks to a tenth or so.
LEAST, RATIO = 1 << 28, 50
BLOCK = 1 << 20
OBJECT = 64  # bytes that a row, or an element of XML, takes at least, however short it is written
COMPRESSIONS: Mapping[bytes, Any] = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}
PACKED = (".gz", ".bz2", ".xz", ".tgz")
# What the libraries raise for files that are damaged, or never were what their names say.
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError,
           NotImplementedError, RuntimeError, ValueError)  # fmt: skip


class _EndlessError(Exception):
    """More comes out of a file than anybody's data are."""


class _Bounded(io.RawIOBase):
    """What is unpacked, until it is more than may come out of its file."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._most = stream, most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def tell(self) -> int:
        return int(self._stream.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            offset += self._stream.tell()
        self._check(offset)
        return int(self._stream.seek(offset))

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._check(self._stream.tell())
        return len(data)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise _EndlessError


def most_from(file: Path) -> int:
    """Bytes that may come out of a file."""
    return max(LEAST, RATIO * file.stat().st_size)


@contextlib.contextmanager
def unpacked(file: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, out of gzip, bzip2 or xz where it is so packed.

    :raises AtlasError: where it is damaged, or unpacks without end.
    """
    with file.open("rb") as handle:
        start = handle.read(8)
    opened = next((m for magic, m in COMPRESSIONS.items() if start.startswith(magic)), None)
    with _named(file):
        if opened is None:
            if file.suffix in PACKED:
                raise OSError(f"it is not packed as {file.suffix} says")
            with file.open("rb") as handle:
                yield handle
            return
        with (
            opened.open(file) as stream,
            io.BufferedReader(_Bounded(stream, most_from(file))) as whole,
        ):
            yield whole


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Within this context, what is wrong with a file is told in one sentence."""
    try:
        yield
    except _EndlessError:
        refuse_endless(file)
    except DAMAGED as error:
        # Of files that are opened here; a full disk is no fault of theirs, the name of a member is.
        if isinstance(error, OSError) and error.errno not in (None, errno.ENAMETOOLONG):
            raise
        raise AtlasError(f"{file.name}: cannot be read ({error}); is the file truncated?") from None


def refuse_endless(file: Path) -> NoReturn:
    """Refuse a file out of which more comes than may."""
    raise AtlasError(
        f"{file.name}: more than {most_from(file) >> 20:,} MiB come out of it, which nobody's data do "
        "of a file of its size."
    ) from None


class Allowance:
    """What may still come out of a file, of which rows and parts of rows are counted one by one."""

    def __init__(self, file: Path) -> None:
        self._file, self._left = file, most_from(file)

    def take(self, size: int) -> None:
        """Count some bytes more.

        :raises AtlasError: where they are more than may come out of the file.
        """
        self._left -= size
        if self._left < 0:
            refuse_endless(self._file)


class Archive:
    """Regular files of a wheel (zip) or an sdist (tar), by their names; links are none.

    An sdist has one folder named after itself: members are given without it.
    """

    def __init__(self, name: str, members: Mapping[str, Any], read: Any, most: int) -> None:
        self._name, self._members, self._read = name, members, read
        self._left = most

    def copy(self, member: str, target: Path, mode: str = "wb") -> None:
        """Write one member to a file.

        :raises AtlasError: where there is none, or it unpacks without end.
        """
        if member not in self._members:
            raise AtlasError(f"{self._name}: has no member {member!r}.")
        if target.is_dir():
            raise AtlasError(f"{self._name}: the member {member!r} is a file and a folder.")
        with target.open(mode) as handle, self._read(self._members[member]) as stream:
            while block := stream.read(BLOCK):
                self._left -= len(block)
                if self._left < 0:
                    raise _EndlessError
                handle.write(block)

    def copy_folder(self, member: str, folder: Path) -> None:
        """Write all members below one, under their names below it.

        :raises AtlasError: where there are none, or a name leads out of the folder.
        """
        names = [name for name in self._members if name.startswith(member)]
        if not names:
            raise AtlasError(f"{self._name}: has no folder {member!r}.")
        for name in names:
            below = PurePosixPath(name[len(member) :])
            if below.is_absolute() or ".." in below.parts or "\\" in name or not below.parts:
                raise AtlasError(f"{self._name}: the member {name!r} leaves its folder.")
            place = folder / below
            if any(parent.is_file() for parent in place.parents):
                raise AtlasError(f"{self._name}: a folder of {name!r} is a file, too.")
            place.parent.mkdir(parents=True, exist_ok=True)
            self.copy(name, place)


@contextlib.contextmanager
def opened(package: Path) -> Iterator[Archive]:
    """The members of a package file.

    :raises AtlasError: where it is damaged, or unpacks without end.
    """
    if package.suffix in (".whl", ".zip"):
        with _named(package), zipfile.ZipFile(package) as archive:
            members = {i.filename: i for i in archive.infolist() if not i.is_dir()}
            yield Archive(package.name, members, archive.open, most_from(package))
        return
    with unpacked(package) as stream, tarfile.open(fileobj=stream, mode="r:") as sdist:
        files = {m.name.partition("/")[2]: m for m in sdist if m.isfile() and not m.issparse()}
        yield Archive(package.name, files, sdist.extractfile, most_from(package))
