from __future__ import annotations

from atlas.plan import training
from atlas.plan.building import build
from unit.plan.small_plans import two_domains


def test_a_recipe_without_what_is_anothers_business():
    params = training.recipe_params(build(two_domains()), "m")
    assert "lora" in params
    assert not {"rows", "length", "ia3", "grpo"} & set(params)


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
