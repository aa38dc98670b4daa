"""Small configurations to plan, and what is asked of their plans."""

from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.plan.building import build
from unit.configuration.test_config import small

GRID = {
    "name": "{base}-{data.set}-{split}",
    "lists": {"base": ["tiny"], "data": [{"set": "d", "rows": 4}, {"set": "e", "rows": 8}],
              "split": ["first", "second"]},
    "model": {"base": "{base}", "recipe": "r",
              "data": [{"dataset": "{data.set}", "split": "{split}", "rows": "{data.rows}"}]},
}  # fmt: skip


def two_domains(**changes):
    """A small configuration with two datasets and a model of each."""
    data = small()
    data["datasets"]["e"] = {**data["datasets"]["d"], "domain": "legal"}
    data["models"]["n"] = {"base": "tiny", "recipe": "r", "data": [{"dataset": "e"}]}
    data["pools"] = {"p": {"models": ["*"], "spaces": ["delta_activations"]}}
    for path, value in changes.items():
        *parents, last = path.split("__")
        entry = data
        for key in parents:
            entry = entry.setdefault(key, {})
        entry[last] = value
    return data


def with_delta(**changes):
    data = two_domains(**changes)
    data["bases"]["tiny-chat"] = data["bases"]["tiny"]
    data["deltas"] = {"chat": {"base": "tiny", "instruct": "tiny-chat"}}
    data["models"]["o"] = {"base": "tiny-chat", "recipe": "r", "data": [{"dataset": "d"}]}
    data["datasets"]["plain"] = {**data["datasets"]["d"], "template": {"text": "{{ q }}"}}
    data["datasets"]["plain"].pop("cut", None)
    return data


def mixed(**table):
    """Two single models, a mixture of their datasets, and a table of their pool."""
    share = [{"dataset": d, "split": "first", "share": 0.5} for d in ("d", "e")]
    return {
        "models__xy": {"base": "tiny", "recipe": "r", "data": share},
        "tables": {"t": {"pools": ["p"], **table}},
    }


def with_sides():
    """A model trained on solutions, and a fetched one that was trained with rewards."""
    data = with_delta()
    data["bases"]["tiny"]["stages"] = ["pre-training"]
    data["models"]["zero"] = {"base": "tiny", "source": {"local": "zero"}, "domain": "math",
                              "kind": "full", "stages": ["rlvr"]}  # fmt: skip
    data["comparisons"] = {"c": {
        "base": "tiny", "models": ["zero", "m"], "rl": ["zero"], "tasks": ["d"],
    }}  # fmt: skip
    data["tables"] = {"g": {"kind": "geometry", "comparisons": ["c"]}}
    return data


def names(pool):
    return [model.name for model in pool.models]


def refused(message, **changes):
    with pytest.raises(AtlasError, match=message):
        build(two_domains(**changes))
