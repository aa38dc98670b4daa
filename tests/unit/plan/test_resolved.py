"""What rules ask of models, pools and the whole plan."""

from __future__ import annotations

import hashlib

from atlas.plan.building import build
from atlas.plan.resolved import model_seed, weight_names
from unit.plan.small_plans import two_domains, with_sides


def test_weight_names():
    assert weight_names(1) == ["model.safetensors"]
    assert weight_names(2) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]


def test_seeds_differ_by_name_and_by_global_seed():
    seeds = {model_seed(s, n) for s in range(20) for n in ("a", "b", "c")}
    assert len(seeds) == 60
    assert all(0 <= seed < 2**31 for seed in seeds)
    expected = int(hashlib.sha256(b"42:m").hexdigest()[:8], 16) // 2
    assert build(two_domains()).models["m"].seed == expected
    assert build(two_domains(seeds=[7])).models["m"].seed == model_seed(7, "m")
    assert build(two_domains(models__m__seed=5)).models["m"].seed == 5


def test_a_model_has_one_path():
    model = build(two_domains()).models["m"]
    assert (model.domain, model.adapter, model.trained) == ("math", True, True)
    assert model.files() == [
        "results/models/m/adapter_model.safetensors", "results/models/m/adapter_config.json",
    ]  # fmt: skip


def test_a_full_model_has_weights_and_tokenizer():
    model = build(two_domains(recipes__r__parameters="full")).models["m"]
    assert [file.rpartition("/")[2] for file in model.files()] == [
        "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors",
    ]  # fmt: skip


def test_variants_have_splits_of_their_own():
    plan = build(two_domains(models__m__variant="none"))
    data = plan.models["m"].data[0]
    assert plan.split_file(data, "none") == "results/datasets/d/first+none.jsonl"
    assert plan.split_file(data, "own") == "results/datasets/d/first.jsonl"


def test_names_and_address_of_a_base():
    hub = {"hub": {"repo": "org/name", "revision": "abc"}}
    plan = build(two_domains(bases__tiny__source=hub, bases__tiny__aliases=["org/old"]))
    assert {"tiny", "org/name", "org/old"} <= set(plan.base_names("tiny"))
    assert plan.base_address("tiny") == ("org/name", "abc")
    assert build(two_domains()).base_address("tiny") == ("results/sources/bases/tiny", None)


def test_shards_are_stable_and_cover_the_pool():
    def shards(models):
        data = two_domains(pools__p={"models": ["*"], "spaces": ["delta_activations"], "shards": 4})
        for name in models:
            data["models"][name] = data["models"]["m"]
        return build(data).pools["p"].shards

    few, many = shards(f"x{i}" for i in range(20)), shards(f"x{i}" for i in range(21))
    place = {model.name: shard for shard, models in many.items() for model in models}
    assert len(place) == sum(map(len, many.values())) == 23
    assert len(many) > 1
    for shard, models in few.items():
        assert all(place[model.name] == shard for model in models)
    number = int(hashlib.sha256(b"x3").hexdigest()[:16], 16) % 4
    assert place["x3"] == f"{number:04d}"


def test_sides_and_training_stages():
    plan = build(with_sides())
    assert plan.sides("c") == {"sft": ["m"], "rl": ["zero"]}
    assert plan.model_stages("zero") == ["pre-training", "rlvr"]
    assert plan.model_stages("m") == ["pre-training", "sft"]
    # Only what is trained here has a curve.
    assert plan.rewarded("c") == []
    data = with_sides()
    data["comparisons"]["c"]["rl"] = ["m"]
    assert build(data).rewarded("c") == ["m"]


def test_stages_of_a_model_that_is_the_base_of_another():
    data = with_sides()
    data["models"]["later"] = {**data["models"]["m"], "base": {"model": "m"}}
    assert build(data).model_stages("later") == ["pre-training", "sft", "sft"]


def test_a_domain_has_one_look_in_all_pools_and_a_pool_more_alters_none():
    data = two_domains()
    data["datasets"]["f"] = {**data["datasets"]["d"], "domain": "art"}
    data["models"]["o"] = {"base": "tiny", "recipe": "r", "data": [{"dataset": "f"}]}
    data["pools"] = {"p": {"models": ["m", "n"], "spaces": ["delta_activations"]}}
    alone = build(data).looks_of("p")
    data["pools"]["a"] = {"models": ["n", "o"], "spaces": ["delta_activations"]}
    plan = build(data)
    assert plan.looks_of("p") == alone
    assert list(plan.looks_of("a")) == ["art", "legal"]  # "art" would be first, were it sorted in
    assert plan.looks_of("a")["legal"] == alone["legal"]
    assert len(set(plan.looks.values())) == 3
