from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.plan import training
from atlas.plan.building import build
from unit.plan.small_plans import two_domains


def test_a_recipe_without_what_is_anothers_business():
    params = training.recipe_params(build(two_domains()), "m")
    assert "lora" in params
    assert not {"rows", "length", "labels", "dtype", "ia3", "grpo"} & set(params)


def test_a_recipe_may_load_the_base_in_another_precision():
    assert training.dtype(build(two_domains()), "m") == "float32"
    assert training.dtype(build(two_domains(recipes__r__dtype="float16")), "m") == "float16"


def test_what_becomes_of_long_preferences():
    length = {"policy": "keep_end", "prompt_tokens": 64}
    data = two_domains(recipes__r__length=length, recipes__r__objective="dpo")
    for name in ("d", "e"):
        data["datasets"][name]["template"] = {"input": "a", "chosen": "b", "rejected": "c"}
    assert training.length_params(build(data), "m") == length
    with pytest.raises(AtlasError, match=r"keep_end and .* for the objective dpo"):
        build(two_domains(recipes__r__length=length))


def test_rows_of_a_mixture_have_the_length_of_their_dataset():
    length = {"max_tokens": 100, "datasets": {"e": 50}, "policy": "drop"}
    data = two_domains(recipes__r__length=length)
    data["models"]["m"]["data"] = [{"dataset": "d"}, {"dataset": "e", "split": "second"}]
    found = training.row_params(build(data), "m")
    assert [(row["dataset"], row["split"], row["max_tokens"]) for row in found] == [
        ("d", "first", 100), ("e", "second", 50),
    ]  # fmt: skip


def test_only_rewards_are_read_from_raw_rows():
    plan = build(two_domains())
    assert training.graded_rows(plan, "m") == []
    assert training.completion_room(plan, "m") == 0
    grpo = {"objective": "grpo", "grpo": {"grader": "number", "new_tokens": 9},
            "length": {"policy": "drop"}}  # fmt: skip
    data = two_domains()
    data["recipes"]["r"] |= grpo
    plan = build(data)
    assert training.graded_rows(plan, "m") == ["results/sources/datasets/d.jsonl"]
    assert training.completion_room(plan, "m") == 9


def test_datasets_are_named_as_the_hub_names_them():
    data = two_domains(datasets__d__licence="mit")
    data["datasets"]["e"]["source"] = {"hub": {"repo": "lab/e", "files": ["e.jsonl"]}}
    data["models"]["m"]["data"] = [{"dataset": "d"}, {"dataset": "e"}]
    found = training.dataset_licences(build(data), "m")
    assert list(found) == ["d", "lab/e"]
    assert found["d"] == "mit"
