"""Checking a configuration, with one sentence for each error."""

import copy
import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ValidationError

from atlas.configuration.config import UNION_ENTRIES, Config
from atlas.configuration.tables import TABLE_KINDS
from atlas.errors import AtlasError
from atlas.grammar import NAME_PATTERN, NAMES

UNION_NAMES = {entry.__name__ for entry in UNION_ENTRIES}


def validate(
    data: Any, where: str, *, fragment: bool = False, kinds: Mapping[str, Any] | None = None
) -> Config | None:
    """Check a configuration and return it.

    :param data: the parsed YAML, a mapping.
    :param where: the file (or "the merged configuration"), for messages.
    :param fragment: the data is one file of several: missing keys are no error, and nothing
        is returned; unknown keys, types and ranges are checked all the same.
    :param kinds: table -> its kind, of tables whose kind another file says.
    :raises AtlasError: with one sentence per error.
    """
    if not isinstance(data, dict):
        raise AtlasError(
            f"{where}: a configuration is a mapping of keys, not {type(data).__name__}."
        )
    try:
        config = Config.model_validate(data, context={"fragment": fragment, "kinds": kinds or {}})
        return None if fragment else config
    except ValidationError as error:
        found = [e for e in error.errors() if not _other_branch(e)]
        misspelt = {(*e["loc"][:-1], _nearest(e)) for e in found if e["type"] == "extra_forbidden"}
        faults = [
            e for e in found
            if not (e["type"] == "missing" and (fragment or e["loc"] in misspelt))
        ]  # fmt: skip
        if not faults:
            return None
        raise AtlasError(*(f"{where}: {_sentence(e)}" for e in faults)) from None


def typed(given: Mapping[str, Any]) -> dict[str, Any]:
    """What `--config` sets, with numbers and truth values where the grammar has them.

    Snakemake leaves them as text wherever they stand within a list or a mapping.
    """
    found: dict[str, Any] = copy.deepcopy(dict(given))
    try:
        Config.model_validate(found, context={"fragment": True, "kinds": {}})
    except ValidationError as error:
        for fault in error.errors():
            if fault["type"] in ("int_type", "float_type", "bool_type"):
                _put(found, fault["loc"], yaml.safe_load(str(fault["input"])))
    return found


def _put(entry: Any, place: Sequence[Any], value: Any) -> None:
    """Set what stands at the place of an error, which names kinds of entries, too."""
    *path, last = place
    for part in path:
        if isinstance(entry, list) or part in entry:
            entry = entry[part]
    entry[last] = value


def _other_branch(error: Any) -> bool:
    """Whether an error is about the other way of writing what may be a name or a mapping."""
    if UNION_NAMES & {str(part) for part in error["loc"]}:
        return error["type"] == "model_type"
    return error["type"] == "string_type" and isinstance(error["input"], dict)


def _nearest(error: Any) -> str:
    """The known key that an unknown one is most like, or an empty text."""
    *parent, key = error["loc"]
    return _most_like(key, _known_keys(_place(parent)[1]))


def _most_like(given: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(given), known, n=1, cutoff=0.5)
    return near[0] if near else ""


def _sentence(error: Any) -> str:
    """One sentence for one of pydantic's errors: where, what, and what would be right."""
    path, _ = _place(error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {error['loc'][-1]!r} in {_parent(error)}; {_hint(error)}"
    if error["type"] == "union_tag_invalid":
        kind = error["input"]["kind"]
        near = _most_like(kind, TABLE_KINDS)
        hint = f"did you mean {near!r}?" if near else f"known kinds: {', '.join(TABLE_KINDS)}."
        return f"{path}.kind: unknown kind {kind!r}; {hint}"
    if error["type"] == "missing":
        return f"{path} is missing."
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == NAME_PATTERN:
        return f"{path}: {error['input']!r} is not a name; {NAMES}"
    message = error["msg"]
    value = error.get("input")
    shown = "" if isinstance(value, dict | list) else f", not {value!r}"
    if error["type"] in ("source", "template", "model", "pool", "delta"):
        shown = ""
    return f"{path}: {message[:1].lower()}{message[1:]}{shown}."


def _parent(error: Any) -> str:
    """The entry that has an unknown key, and of what kind it is if it is a table."""
    path, entry = _place(error["loc"][:-1])
    kind = next(
        (f", a table of the kind {kind}" for kind, t in TABLE_KINDS.items() if t is entry), ""
    )
    return (path or "the top level") + kind


def _hint(error: Any) -> str:
    """What would be right in place of an unknown key."""
    *parent, key = error["loc"]
    _, entry = _place(parent)
    others = [kind for kind, table in TABLE_KINDS.items() if key in table.model_fields]
    elsewhere = ""
    if entry in TABLE_KINDS.values() and others:
        elsewhere = f"tables of the kind {' or '.join(others)} have it; "
    if near := _nearest(error):
        return f"{elsewhere}did you mean {near!r}?"
    return f"{elsewhere}known keys: {', '.join(sorted(_known_keys(entry)))}."


def _known_keys(entry: Any) -> list[str]:
    """Keys of an entry; none of what is not an entry."""
    return list(entry.model_fields) if _is_entry(entry) else []


def _is_entry(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _place(loc: Iterable[int | str]) -> tuple[str, Any]:
    """A location as pydantic has it: its path in the configuration, and what may stand there.

    Where one of several things may stand, pydantic's next part says which: it is no key.
    """
    path: list[str] = []
    current: Any = Config
    for part in loc:
        branches = _branches(current)
        if len(branches) > 1:
            current = next((b for b in branches if part in _labels(b)), None)
            continue
        if part == "[key]":
            continue
        path.append(str(part))
        (current,) = branches
        if _is_entry(current):
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
        else:
            current = (
                typing.get_args(current)[-1] if typing.get_origin(current) in (dict, list) else None
            )
    branches = _branches(current)
    return ".".join(path), branches[0] if len(branches) == 1 else None


def _labels(branch: Any) -> set[str]:
    """What pydantic calls an entry where others may stand too."""
    kinds = [kind for kind, table in TABLE_KINDS.items() if table is branch]
    return {*kinds, getattr(branch, "__name__", "")}


def _branches(annotation: Any) -> list[Any]:
    """What may stand in a place, without None."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _branches(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        inner = [_branches(a) for a in typing.get_args(annotation) if a is not type(None)]
        return [branch for branches in inner for branch in branches]
    return [annotation]
