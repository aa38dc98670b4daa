"""Selections and retrievals in a configuration: the models and pools that they add."""

from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.plan.building import build
from unit.plan.small_plans import two_domains

ENTRY = {"pool": "p", "tasks": ["t"], "recipe": "r", "size": 2}


def config(**changes):
    data = two_domains()
    data["datasets"]["t"] = {**data["datasets"]["d"], "domain": "task"}
    data["datasets"]["u"] = {**data["datasets"]["d"], "splits": {"region": [1.0]}}
    data["selections"] = {"s": {**ENTRY, **changes}}
    return data


def test_a_selection_adds_one_model_per_task_in_a_pool_of_its_own():
    plan = build(config())
    model = plan.models["selection-t"]
    assert (model.base, model.recipe, model.domain) == ("tiny", "r", "task")
    assert [(d.dataset, d.split, d.rows) for d in model.data] == [("t", "region", 5)]
    assert [m.name for m in plan.pools["selection.s"].models] == ["selection-t"]
    # The pool's own glob does not take it.
    assert "selection-t" not in [m.name for m in plan.pools["p"].models]


def test_a_retrieval_adds_one_model_per_base():
    data = two_domains()
    data["bases"]["other"] = data["bases"]["tiny"]
    data["retrievals"] = {"mine": {"pool": "p", "dataset": "d", "recipe": "r", "split": "rest"}}
    assert [m.name for m in build(data).pools["retrieval.mine"].models] == ["retrieval-mine"]
    data["models"]["n"]["base"] = "other"
    found = build(data).pools["retrieval.mine"].models
    assert [(m.name, m.base) for m in found] == [
        ("retrieval-mine-other", "other"), ("retrieval-mine-tiny", "tiny"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool": "q"}, "selections.s.pool: there is no pool 'q'"),
        ({"recipe": "x"}, "selections.s.recipe: there is no recipe 'x'"),
        ({"tasks": ["x"]}, "selections.s.tasks: there is no dataset 'x'"),
        ({"tasks": ["d"]}, "m of the pool is trained on d, which so is not held out"),
        ({"tasks": ["u"]}, "u holds no rows out; set datasets.u.splits.region below 1"),
        ({"size": 3}, "the pool 'p' has 2 models, fewer than 3"),
        ({"strategies": ["nearest"]}, "input should be 'random', 'similar' or 'similar.random'"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(AtlasError, match=message):
        build(config(**changes))


def test_a_task_is_in_one_selection():
    data = config()
    data["selections"]["again"] = ENTRY
    with pytest.raises(AtlasError, match=r"selections.again.tasks: 't' is a task of 's' already"):
        build(data)


def test_a_pool_needs_the_space():
    data = config()
    data["pools"]["p"]["spaces"] = ["flattened_weights"]
    with pytest.raises(AtlasError, match="'p' lacks the space delta_activations; add it"):
        build(data)


def test_a_pool_of_two_bases_is_not_composed():
    data = config()
    data["bases"]["other"] = data["bases"]["tiny"]
    data["models"]["n"]["base"] = "other"
    with pytest.raises(
        AtlasError, match="models of other and tiny; models of one base are composed"
    ):
        build(data)


def test_full_models_are_not_composed():
    data = config()
    data["recipes"]["full"] = {**data["recipes"]["r"], "parameters": "full"}
    data["models"]["n"]["recipe"] = "full"
    with pytest.raises(AtlasError, match="'n' is a full model; adapters are composed"):
        build(data)


def test_names_are_kept():
    data = config()
    data["models"]["selection-t"] = data["models"]["n"]
    with pytest.raises(
        AtlasError, match=r"models.selection-t: the name is that of a model of a task"
    ):
        build(data)


def test_a_table_of_selections():
    data = config()
    data["tables"] = {"selection": {"kind": "selection"}}
    with pytest.raises(
        AtlasError, match=r"tables.selection.selections: a table of the kind selection"
    ):
        build(data)
    data["tables"]["selection"]["selections"] = ["x"]
    with pytest.raises(AtlasError, match=r"there is no selection 'x'"):
        build(data)
