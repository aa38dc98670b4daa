"""Grids: patterns with lists that generate models."""

import math
import re
from collections.abc import Mapping
from itertools import product
from typing import Any

from pydantic import ValidationError

from atlas.configuration.config import Config
from atlas.configuration.models import Model
from atlas.configuration.validation import validate
from atlas.errors import AtlasError
from atlas.grammar import NAMES, is_valid_name
from atlas.references import known

MOST = 1_000_000  # models of a grid


def _fill(value: Any, values: Mapping[str, Any], where: str) -> Any:
    """Put the values of a grid into the texts of its model."""
    if isinstance(value, dict):
        return {key: _fill(item, values, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, values, where) for item in value]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> Any:
        head, *rest = match.group(1).split(".")
        known(head, values, where, "placeholder")
        found = values[head]
        for key in rest:
            if not isinstance(found, dict) or key not in found:
                raise AtlasError(f"{where}: {match.group(0)} has no value.")
            found = found[key]
        return found

    whole = re.fullmatch(r"\{([\w.]+)\}", value)
    if whole:
        return lookup(whole)
    return re.sub(r"\{([\w.]+)\}", lambda match: str(lookup(match)), value)


def expand(config: Config, name: str) -> dict[str, Model]:
    """Models that a grid generates."""
    grid = config.grids[name]
    where = f"grids.{name}"
    count = math.prod(map(len, grid.lists.values()))
    if count > MOST:
        raise AtlasError(f"{where}.lists: make {count:,} models; a grid makes at most {MOST:,}.")
    models: dict[str, Model] = {}
    for combination in product(*grid.lists.values()):
        values = dict(zip(grid.lists, combination, strict=True))
        key = _fill(grid.name, values, f"{where}.name")
        if not isinstance(key, str) or not is_valid_name(key):
            raise AtlasError(f"{where}.name: {key!r} is not a name; {NAMES}")
        if key in models:
            raise AtlasError(
                f"{where}.name: {key!r} is generated twice; use every list in the name."
            )
        filled = _fill(grid.model, values, f"{where}.model")
        try:
            models[key] = Model.model_validate(filled)
        except ValidationError:
            validate({"models": {key: filled}}, f"{where}.model")
            raise
    return models
