"""Raw rows as Croissant 1.1 describes datasets: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from atlas.bills.origins import SPDX, hub_address, hub_purl, in_words, package_files, package_purl
from atlas.digests import sha256_file
from atlas.files import read_jsonl, read_object, write_json

VERSION = "http://mlcommons.org/croissant/1.1"
# The context of the specification.
CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/", "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo", "key": "cr:key", "md5": "cr:md5", "citeAs": "cr:citeAs",
    "data": {"@id": "cr:data", "@type": "@json"}, "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"}, "name": {"@container": "@language"},
    **{key: f"cr:{key}" for key in (
        "arrayShape", "column", "containedIn", "equivalentProperty", "extract", "field", "fileObject",
        "fileProperty", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath",
        "parentField", "path", "recordSet", "references", "regex", "repeated", "replace",
        "samplingRate", "separator", "source", "subField", "transform")},
}  # fmt: skip
TYPES = {bool: "sc:Boolean", int: "sc:Integer", float: "sc:Float", str: "sc:Text"}
FILE, RECORD = "rows.jsonl", "row"
PLAIN = re.compile(r"[A-Za-z_]\w*")  # a name that a JSON path takes without quotes


def describe_dataset(*, rows: Path, record: Path, croissant: Path, language: list[str]) -> None:
    """Write the description of a dataset beside its rows.

    :param rows: raw rows, a JSON object a line. :param record: where they are from.
    :param language: of the data (ISO 639), where the configuration names it.
    """
    write_json(croissant, description(rows, read_object(record), language))


def description(rows: Path, record: Mapping[str, Any], language: list[str]) -> dict[str, Any]:
    """A dataset as JSON-LD."""
    origin, digest = record.get("origin", {}), sha256_file(rows)
    purls, address = list(_sources(origin)), None
    if hub := origin.get("hub"):
        address = hub_address(hub["repo"], hub.get("commit"), dataset=True)
    described, left = _fields(read_jsonl(rows))
    counted = sorted((key, value) for key, value in record.items() if key.startswith("rows"))
    counts = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in counted)
    licence = str(record.get("licence", "unknown"))
    spdx = SPDX.get(licence.lower())
    found: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": record["dataset"],
        "description": f"Raw rows as published, from {in_words(origin)} ({counts}).",
        "license": f"https://spdx.org/licenses/{spdx}" if spdx else licence,
        "url": address,
        "version": f"0.0.0+sha256.{digest[:12]}",
        "inLanguage": language or None,
        "prov:wasDerivedFrom": [{"@id": purl} for purl in purls] or None,
        "distribution": [{
            "@type": "cr:FileObject", "@id": FILE, "name": FILE,
            "description": "One JSON object a line; a row's id is its line, from 0.",
            "contentUrl": rows.name, "contentSize": f"{rows.stat().st_size} B",
            "encodingFormat": "application/jsonlines", "sha256": digest,
        }],
        "recordSet": [{
            "@type": "cr:RecordSet", "@id": RECORD, "name": RECORD, "field": described,
            "description": f"A row. Not described: {', '.join(left)}." if left else "A row.",
        }],
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


def _sources(origin: Mapping[str, Any]) -> Iterator[str]:
    if hub := origin.get("hub"):
        yield hub_purl(hub["repo"], hub.get("commit"), dataset=True)
    yield from dict.fromkeys(package_purl(file["name"]) for file in package_files(origin))


def _fields(rows: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Fields of columns that hold one value, or a list of such; and the names of all others.

    What lies within a column is a field where every row has it.
    """
    kinds: dict[tuple[str, ...], set[Any]] = {}
    times: dict[tuple[str, ...], int] = {}
    number = 0
    for row in rows:
        number += 1
        for path, value in _leaves(row):
            kinds.setdefault(path, set()).add(_kind(value))
            times[path] = times.get(path, 0) + 1
    found, left = [], []
    for path, seen in sorted(kinds.items()):
        kind = _common(seen - {None})
        # A column of lists is read as it is; a path into a column takes what is there in every row.
        inner = len(path) > 1
        whole = times[path] == number and None not in seen and all(map(PLAIN.fullmatch, path[1:]))
        if kind is None or (inner and (not whole or isinstance(kind, tuple))):
            left.append(".".join(path))
        else:
            found.append(_field(path, kind))
    return found, left


def _field(path: tuple[str, ...], kind: Any) -> dict[str, Any]:
    name = ".".join(path)
    repeated = isinstance(kind, tuple)
    source: dict[str, Any] = {"fileObject": {"@id": FILE}, "extract": {"column": path[0]}}
    if path[1:]:
        source["transform"] = {"jsonPath": ".".join(path[1:])}
    found = {"@type": "cr:Field", "@id": f"{RECORD}/{name}", "name": name,
             "dataType": TYPES[kind[0] if repeated else kind], "source": source}  # fmt: skip
    return found | ({"repeated": True} if repeated else {})


def _leaves(
    row: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in row.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _kind(value: Any) -> Any:
    """A type; (type,) for a list of it; None for null; object for anything else."""
    if value is None:
        return None
    if isinstance(value, list):
        inner = _common({_kind(item) for item in value})
        return (inner,) if value and isinstance(inner, type) else object
    return type(value) if type(value) in TYPES else object


def _common(kinds: set[Any]) -> Any:
    """The one type of all, text for several; None where there is none."""
    if len(kinds) == 1:
        (kind,) = kinds
        return None if kind in (object, None) else kind
    if kinds == {int, float}:
        return float
    return str if kinds and kinds <= TYPES.keys() else None
