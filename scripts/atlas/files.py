"""Reading and writing the plain file formats, always whole and always the same bytes."""

import csv
import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas import owners
from atlas.errors import AtlasError
from atlas.guarded_json import MOST_BYTES, parse_json

WORKFLOW_FOLDER = Path(__file__).resolve().parents[2]  # the folder of the Snakefile
STAGE_MARK = ".atlas-stage."  # in the names of files that are not finished; their owner follows it
LONG_NAME = 150  # what follows it has room within the 255 bytes of a file system
ENDING = 16  # letters of a longer name that stay
# What spreadsheets take for the beginning of a formula, and such a cell as it is written here.
_SIGNS = r"(\s*[=+\-@＝＋－＠]|[\t\r])"
FORMULA, GUARDED = re.compile(rf"'*{_SIGNS}"), re.compile(rf"'+{_SIGNS}")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")  # endings of files that run code when read


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file and bring it to the disk."""
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it, so that nobody ever sees a part of it."""
    scratch = passing(path)
    try:
        write_bytes(scratch, data)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def passing(path: Path) -> Path:
    """A name of its own beside a file, for what is about to take its place."""
    return staged(path, f"{owners.owner()}-{secrets.token_hex(4)}")


def passing_folder(parent: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for what does not stay, on the same file system: a run that is killed leaves it to others."""
    return tempfile.TemporaryDirectory(prefix=f"{STAGE_MARK}{owners.owner()}-", dir=parent)


def staged(path: Path, owner: str) -> Path:
    """The name that a file has beside its place until it is finished."""
    return path.with_name(f"{_stem(path.name)}{STAGE_MARK}{owner}{path.suffix}")


def finished_stem(path: Path) -> str:
    """The stem that a file has when it is finished; of a long name, its end."""
    name, mark, _ = path.name.rpartition(STAGE_MARK)
    return Path(name[1:]).stem if mark else path.stem


def owner_of(name: str) -> str | None:
    """Owner of an unfinished file, or None where the name is that of another file."""
    _, mark, owner = name.rpartition(STAGE_MARK)
    return owner if mark else None


def unfinished(path: Path) -> Iterator[Path]:
    """What stands beside the place of a file and was about to take it."""
    yield from path.parent.glob(f"{glob.escape(_stem(path.name))}{STAGE_MARK}*")


def _stem(name: str) -> str:
    if len(name.encode()) <= LONG_NAME:
        return f".{name}"
    return f".{hashlib.sha256(name.encode()).hexdigest()}{name[-ENDING:]}"


def json_bytes(value: Any) -> bytes:
    """JSON with sorted keys, indented, ending in a newline."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, indented, ending in a newline."""
    write_bytes(path, json_bytes(value))


def read_json(path: Path) -> Any:
    """Read JSON (:func:`atlas.guarded_json.parse_json`).

    :raises AtlasError: where the file is not JSON, or none that anybody would write.
    """
    try:
        return parse_json(read_bounded(path))
    except ValueError as error:
        raise AtlasError(f"{path}: not a JSON file ({error}).") from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    :raises AtlasError: where the file is not JSON (:func:`read_json`), or another kind of it.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise AtlasError(f"{path}: not a JSON object, but {type(found).__name__}.")
    return found


def read_bounded(path: Path) -> bytes:
    """All of a file of text, which nobody writes larger than 256 MiB.

    :raises AtlasError: where it is no file, but a folder or a pipe, which might never end.
    :raises ValueError: where it is larger.
    """
    if path.exists() and not path.is_file():
        raise AtlasError(f"{path}: not a file.")
    with path.open("rb") as handle:
        data = handle.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
    return data


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line, keys in the order given."""
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def parse_jsonl(lines: Iterable[str], where: str) -> Iterator[dict[str, Any]]:
    """Parse JSON lines, one object each.

    :param where: name of the file, for messages.
    :raises AtlasError: where a line is not a JSON object (as in a truncated file).
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            reason = getattr(error, "msg", error)
            raise AtlasError(
                f"{where}, line {number}: not valid JSON ({reason}); is the file truncated?"
            ) from None
        if not isinstance(row, dict):
            raise AtlasError(f"{where}, line {number}: a row is a JSON object.")
        yield row


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a JSON lines file.

    :raises AtlasError: where it is empty, or a line is not a JSON object.
    """
    try:
        with path.open(encoding="utf-8") as handle:
            rows = list(parse_jsonl(handle, str(path)))
    except UnicodeDecodeError:
        raise AtlasError(f"{path}: not a UTF-8 text file.") from None
    if not rows:
        raise AtlasError(f"{path}: the file has no rows.")
    return rows


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a tidy CSV: full precision, empty cells for None, lines ending in a newline.

    A text that a spreadsheet would take for a formula has an apostrophe before it, by which
    spreadsheets know a text; :func:`read_csv` takes it away.
    """
    lines = _Lines()
    # A cell with \r is quoted where lines end in it, too: it would end the row for readers.
    writer = csv.DictWriter(lines, columns, lineterminator=(end := "\r\n"))
    writer.writeheader()
    for row in rows:
        writer.writerow({c: "" if row[c] is None else _no_formula(row[c]) for c in columns})
    write_bytes(path, "".join(line.removesuffix(end) + "\n" for line in lines).encode())


class _Lines(list[str]):
    """Where a writer of CSV leaves its lines."""

    write = list.append


def _no_formula(cell: Any) -> Any:
    if isinstance(cell, str) and FORMULA.match(cell) and not _is_number(cell):
        return f"'{cell}"
    return cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def csv_rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV of text, as :func:`write_csv` was given it, one at a time."""
    with path.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            yield {
                c: v[1:] if isinstance(v, str) and GUARDED.match(v) else v for c, v in row.items()
            }


def read_csv(path: Path) -> list[dict[str, str]]:
    """All rows of a CSV."""
    return list(csv_rows(path))


def typed_path(text: str | Path) -> Path:
    """A path that a user wrote, ~ read as a home; the home of nobody here is a name like any other.

    :raises AtlasError: where it is longer than paths are.
    """
    found = Path(os.path.expanduser(text))  # noqa: PTH111 - Path raises for the home of nobody
    try:
        os.stat(found)  # noqa: PTH116
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise AtlasError(f"{str(text)[:80]}…: no path is as long as that; mend it.") from None
    except ValueError:
        pass  # with a null in it; nothing is there
    return found


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the two are on different file systems.

    Not for an artefact of what may be one: each gets the time stamp of both, and Snakemake refuses
    an output that is older than an input.
    """
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def copy(source: Path, target: Path) -> None:
    """A copy, brought to the disk, of what may be changed in its place later or is an artefact."""
    shutil.copyfile(source, target)
    sync(target)


def sync(path: Path) -> None:
    """Bring a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def by_folder(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by the name of their folder, which is the name of the base or model."""
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(file.parent.name, []).append(file)
    return found


def by_name(files: Sequence[Path]) -> dict[str, Path]:
    """Files by their names."""
    return {file.name: file for file in files}
