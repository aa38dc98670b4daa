"""Checking a configuration, with one sentence for each error."""

from __future__ import annotations

import difflib
import types
import typing
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError

from atlas.configuration.config import UNION_ENTRIES, Config
from atlas.errors import AtlasError
from atlas.grammar import NAME_PATTERN

UNION_NAMES = {entry.__name__ for entry in UNION_ENTRIES}


def validate(data: Any, where: str, *, fragment: bool = False) -> Config | None:
    """Check a configuration and return it.

    :param data: the parsed YAML, a mapping.
    :param where: the file (or "the merged configuration"), for messages.
    :param fragment: the data is one file of several: missing keys are no error, and nothing
        is returned; unknown keys, types and ranges are checked all the same.
    :raises AtlasError: with one sentence per error.
    """
    if not isinstance(data, dict):
        raise AtlasError(
            f"{where}: a configuration is a mapping of keys, not {type(data).__name__}."
        )
    try:
        config = Config.model_validate(data, context={"fragment": fragment})
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
        raise AtlasError("\n".join(f"{where}: {_sentence(e)}" for e in faults)) from None


def _other_branch(error: Any) -> bool:
    """Whether an error is about the other way of writing what may be a name or a mapping."""
    if UNION_NAMES & {str(part) for part in error["loc"]}:
        return error["type"] == "model_type"
    return error["type"] == "string_type" and isinstance(error["input"], dict)


def _nearest(error: Any) -> str:
    """The known key that an unknown one is most like, or an empty text."""
    *parent, key = error["loc"]
    near = difflib.get_close_matches(str(key), _known_keys(tuple(parent)), n=1, cutoff=0.5)
    return near[0] if near else ""


def _sentence(error: Any) -> str:
    """One sentence for one of pydantic's errors: where, what, and what would be right."""
    loc = [str(part) for part in error["loc"] if str(part) not in ("[key]",)]
    loc = [
        part for part in loc
        if part not in {*UNION_NAMES, "str"} and not part.startswith(("function-", "constrained-"))
    ]  # fmt: skip
    path = ".".join(loc)
    if error["type"] == "extra_forbidden":
        near = _nearest(error)
        parent = ".".join(loc[:-1]) or "the top level"
        known = ", ".join(sorted(_known_keys(error["loc"][:-1])))
        hint = f"did you mean {near!r}?" if near else f"known keys: {known}."
        return f"unknown key {loc[-1]!r} in {parent}; {hint}"
    if error["type"] == "missing":
        return f"{path} is missing."
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == NAME_PATTERN:
        return f"{path}: {error['input']!r} is not a name; names are made of letters, digits and . _ + -"
    message = error["msg"]
    value = error.get("input")
    shown = "" if isinstance(value, dict | list) else f", not {value!r}"
    if error["type"] in ("source", "template", "model", "pool", "delta"):
        shown = ""
    return f"{path}: {message[:1].lower()}{message[1:]}{shown}."


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    """Keys allowed at a location of the configuration."""
    current: Any = Config
    for part in loc:
        current = _strip(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            if field is None:
                continue
            current = field.annotation
        elif typing.get_origin(current) in (dict, list):
            current = typing.get_args(current)[-1]
    current = _strip(current)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def _strip(annotation: Any) -> Any:
    """The entry class inside Optional, Union or Annotated."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation = typing.get_args(annotation)[0]
        elif origin in (typing.Union, types.UnionType):
            entries = [
                a for a in typing.get_args(annotation)
                if isinstance(a, type) and issubclass(a, BaseModel)
            ]  # fmt: skip
            others = [a for a in typing.get_args(annotation) if a is not type(None)]
            annotation = entries[0] if entries else others[0]
        else:
            return annotation
