from __future__ import annotations

import typing

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from atlas.configuration.bases import Base
from atlas.configuration.config import Config
from atlas.configuration.datasets import Dataset, Template
from atlas.configuration.models import Model
from atlas.configuration.recipes import Recipe
from atlas.configuration.tables import table_kinds
from atlas.configuration.validation import typed, validate
from atlas.errors import AtlasError

SMALL = """
bases:
  tiny: {source: {random: {architecture: llama}}}
datasets:
  d:
    domain: math
    source: {local: rows.jsonl}
    columns: {q: q, a: a}
    template: {input: "{{ q }}", completion: "{{ a }}"}
recipes:
  r: {objective: sft, parameters: lora}
models:
  m: {base: tiny, recipe: r, data: [{dataset: d}]}
"""


def small(**changes):
    """A small configuration; `a__b=value` sets the key b of a, None takes it out."""
    data = yaml.safe_load(SMALL)
    for path, value in changes.items():
        *parents, last = path.split("__")
        entry = data
        for key in parents:
            entry = entry[key]
        entry[last] = value
        if value is None:
            del entry[last]
    return data


def refused(message, **changes):
    with pytest.raises(AtlasError, match=message):
        validate(small(**changes), "c.yaml")


def test_defaults():
    found = validate(small(), "c.yaml")
    recipe = found.recipes["r"]
    assert (recipe.lora.r, recipe.lora.alpha, recipe.lora.dropout) == (8, 16, 0)
    assert "o_proj" not in recipe.lora.targets
    assert (recipe.learning_rate, recipe.batch_size, recipe.accumulation) == (1e-4, 4, 4)
    assert recipe.epochs == 3
    assert found.datasets["d"].splits.region == [0.8]
    assert found.datasets["d"].splits.parts == ["first", "second", "third"]
    assert found.models["m"].data[0].split == "first"


def test_numbers_that_yaml_takes_for_text():
    found = validate(small(recipes__r__learning_rate="1e-4"), "c.yaml")
    assert found.recipes["r"].learning_rate == 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipies": {}}, r"c\.yaml: unknown key 'recipies' in the top level; did you mean 'recipes'"),
        ({"recipes__r__learning_rat": 1.0}, "'learning_rat' in recipes.r; did you mean 'learning_rate'"),
        ({"recipes__r__lora": {"rank": 4}}, "'rank' in recipes.r.lora; known keys: .*dropout"),
        ({"bases__tiny__source__random__architectur": "x"}, "did you mean 'architecture'"),
        ({"datasets__d__template__completions": "x"}, "did you mean 'completion'"),
        ({"models__m__data": [{"dataset": "d", "splt": "first"}]}, "did you mean 'split'"),
        ({"recipes__r__batch_size": 0}, "recipes.r.batch_size: .*greater than or equal to 1, not 0"),
        ({"recipes__r__batch_size": "4"}, "recipes.r.batch_size: .*integer, not '4'"),
        ({"recipes__r__batch_size": True}, "recipes.r.batch_size: .*integer"),
        ({"recipes__r__learning_rate": float("inf")}, "recipes.r.learning_rate: .*finite"),
        ({"recipes__r__learning_rate": -1.0}, "recipes.r.learning_rate: .*greater than 0"),
        ({"recipes__r__objective": "stf"}, "recipes.r.objective: .*'sft'.*not 'stf'"),
        ({"recipes__r__lora": {"dropout": 1.0}}, "recipes.r.lora.dropout: .*less than 1"),
        ({"datasets__d__splits": {"region": [1.5]}}, "less than or equal to 1"),
        ({"datasets__d__domain": None}, "datasets.d.domain is missing"),
        ({"bases": {"a b": {"source": {"local": "x"}}}}, "'a b' is not a name; .*letters, digits"),
        ({"datasets__d__domain": "a/b"}, "datasets.d.domain: 'a/b' is not a name"),
        ({"bases__tiny__source__local": "x"}, "exactly one of .*not local and random"),
        ({"bases__tiny__source": {}}, "exactly one of pypi, hub, local, random, model"),
        ({"datasets__d__template__completion": None}, "a template has input and completion.*not input"),
        ({"models__m__recipe": None}, "models.m: a model has either recipe and data"),
        ({"models__m__source": {"local": "x"}}, "a fetched model has a source, and neither"),
        ({"models": {"m": {"base": "tiny", "source": {"local": "x"}}}}, "needs a domain"),
        ({"pools": {"p": {}}}, "pools.p: a pool names its models"),
        ({"figures": {"palette": ["red"]}}, "figures.palette.0: .*'red'"),
        ({"device": "gpu"}, "device: .*'auto', 'cpu' or 'cuda'"),
        ({"attention": "flash"}, "attention: .*'sdpa', 'eager' or 'flash_attention_2'"),
        ({"recipes__r__objective": "dpo", "recipes__r__padding_free": True},
         "recipes.r: padding_free and liger are for the objectives sft and cpt"),
        ({"recipes__r__objective": "grpo", "recipes__r__liger": True}, "recipes.r: padding_free and"),
        ({"seeds": []}, "seeds: .*at least 1"),
        ({"tables": {"t": {"kind": "additive", "pool": []}}},
         "'pool' in tables.t, a table of the kind additive; did you mean 'pools'"),
        ({"tables": {"t": {"kind": "additive", "comparisons": []}}},
         "in tables.t, a table of the kind additive; tables of the kind geometry or weight_space have it; "
         "known keys: kind, pools"),
        ({"tables": {"t": {"models": []}}},
         "a table of the kind main; tables of the kind instruct or temporal have it; did you mean"),
        ({"tables": {"t": {"kind": "additiv"}}}, "tables.t.kind: unknown kind 'additiv'; .*'additive'?"),
        ({"tables": {"t": {"kind": 3}}}, "tables.t.kind: unknown kind 3; known kinds: main, additive"),
        ({"tables": {"t": {"kind": "instruct", "new_tokens": 0}}}, r"c.yaml: tables.t.new_tokens: .*not 0"),
        ({"tables": {"t": {"kind": "silhouettes", "spaces": ["x"]}}}, r"c.yaml: tables.t.spaces.0: .*'x'"),
        ({"tables": {"t": 3}}, r"c.yaml: tables.t: .*not 3"),
    ],
)  # fmt: skip
def test_mistakes_get_one_clear_sentence(changes, message):
    refused(message, **changes)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ({"modle": "m"}, "unknown key 'modle' in models.m.base; did you mean 'model'"),
        ({"model": "a b"}, "models.m.base.model: 'a b' is not a name"),
        ("a b", "models.m.base: 'a b' is not a name"),
        (3, "models.m.base: .*not 3"),
    ],
)
def test_a_wrong_reference_to_a_base_gets_one_sentence(base, message):
    with pytest.raises(AtlasError, match=message) as caught:
        validate(small(models__m__base=base), "c.yaml")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("shares", "right"), [((0.5, 0.5), True), ((0.5, 0.4), False), ((0.5, None), False)]
)
def test_shares_of_a_mixture_add_up(shares, right):
    data = [{"dataset": "d", "share": share} for share in shares]
    if right:
        assert validate(small(models__m__data=data), "c").models["m"].data[1].share == 0.5
    else:
        refused("shares of a mixture .*add up to 1", models__m__data=data)


def test_every_fault_is_told_at_once():
    with pytest.raises(AtlasError) as caught:
        validate(small(devise="cpu", recipes__r__batch_size=0), "c.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("c.yaml: ") for line in lines)


@pytest.mark.parametrize("data", [None, [], "bases"])
def test_a_configuration_is_a_mapping(data):
    with pytest.raises(AtlasError, match=r"c.yaml: a configuration is a mapping"):
        validate(data, "c.yaml")


def test_a_fragment_may_be_incomplete_and_not_wrong():
    validate({"recipes": {"r": {"learning_rate": 1e-3}}}, "f.yaml", fragment=True)
    validate({"models": {"m": {"seed": 1}}, "pools": {"p": {"shards": 2}}}, "f", fragment=True)
    for wrong in ({"recipes": {"r": {"learning_rat": 1}}}, {"device": "x"}, {"seeds": ["1"]}):
        with pytest.raises(AtlasError, match=r"f\.yaml"):
            validate(wrong, "f.yaml", fragment=True)


def test_the_kind_of_a_table_may_be_said_by_another_file():
    whole = {"tables": {"t": {"kind": "geometry"}, "u": {"pools": []}, "v": None}}
    kinds = table_kinds(whole)
    assert kinds == {"t": "geometry"}
    assert table_kinds({"tables": []}) == table_kinds({}) == {}
    validate({"tables": {"t": {"comparisons": ["c"]}}}, "f.yaml", fragment=True, kinds=kinds)
    for other, known in (({"t": {"pools": []}}, kinds), ({"t": {"comparisons": ["c"]}}, {})):
        with pytest.raises(AtlasError, match=r"f\.yaml: unknown key .* in tables\.t"):
            validate({"tables": other}, "f.yaml", fragment=True, kinds=known)


@pytest.mark.parametrize(
    ("template", "kind"),
    [
        ({"input": "x", "completion": "y"}, "completion"),
        ({"task": "t", "input": "x", "chosen": "y", "rejected": "z"}, "preference"),
        ({"messages": "m"}, "messages"),
        ({"text": "t"}, "text"),
    ],
)
def test_kinds_of_rows(template, kind):
    found = validate(small(datasets__d__template=template), "c")
    assert found.datasets["d"].template.kind() == kind


def entries(model=Config, seen=None):
    """All entry classes of the grammar."""
    seen = {} if seen is None else seen
    if model.__name__ not in seen:
        seen[model.__name__] = model
        for field in model.model_fields.values():
            stack = [field.annotation]
            while stack:
                current = stack.pop()
                if isinstance(current, type) and issubclass(current, BaseModel):
                    entries(current, seen)
                stack += typing.get_args(current)
    return seen


def test_every_key_is_described():
    bare = [f"{name}.{key}" for name, entry in entries().items()
            for key, field in entry.model_fields.items() if not field.description]  # fmt: skip
    assert bare == []
    assert {"Config", "Recipe", "Lora", "Grid", "PackageFile"} <= set(entries())


PATHS = [
    ((), Config), (("bases", "tiny"), Base), (("datasets", "d"), Dataset),
    (("datasets", "d", "template"), Template), (("recipes", "r"), Recipe),
    (("models", "m"), Model),
]  # fmt: skip


@given(st.sampled_from(PATHS), st.data())
def test_a_misspelt_key_is_answered_with_the_nearest(path, data):
    keys, entry = path
    right = data.draw(st.sampled_from(sorted(k for k in entry.model_fields if len(k) > 4)))
    at = data.draw(st.integers(1, len(right) - 1))
    wrong = right[:at] + "x" + right[at:]
    configuration = small()
    place = configuration
    for key in keys:
        place = place[key]
    place[wrong] = None
    with pytest.raises(AtlasError, match=f"unknown key {wrong!r} .*did you mean {right!r}"):
        validate(configuration, "c.yaml")


def test_what_the_command_line_sets_has_the_types_of_the_grammar():
    given = {
        "seeds": ["43"], "device": "cpu", "unknown": {"a": ["1"]},
        "recipes": {"r": {"learning_rate": "0.02", "bf16": "true", "length": {"max_tokens": "64"}}},
        "datasets": {"d": {"between": {"year": ["1977", "1979"]}}},
        "tables": {"t": {"kind": "silhouettes", "pools": ["1"]}},
    }  # fmt: skip
    found = typed(given)
    assert found["seeds"] == [43]
    assert found["recipes"]["r"] == {
        "learning_rate": 0.02, "bf16": True, "length": {"max_tokens": 64},
    }  # fmt: skip
    for key in ("device", "unknown", "datasets", "tables"):
        assert found[key] == given[key]
    assert given["seeds"] == ["43"]
