"""Pools: names, globs, repetitions."""

from __future__ import annotations

import copy

import pytest

from atlas.errors import AtlasError
from atlas.plan.building import build
from atlas.plan.resolved import model_seed
from unit.plan.small_plans import GRID, mixed, names, two_domains, with_delta
from unit.plan.test_sheets import SHEET


def test_a_pool_is_sorted_and_each_model_stands_once():
    pool = build(two_domains(grids__g=GRID, pools__p__models=["n", "*first", "tiny-d*"])).pools["p"]
    assert names(pool) == ["n", "tiny-d-first", "tiny-d-second", "tiny-e-first"]
    assert pool.bases == ["tiny"]


def test_globs_mean_the_same_whatever_the_order_of_pools(tmp_path):
    sheet = {"sheet": "pool.tsv", "spaces": ["delta_activations"]}
    globs = {"models": ["*"], "spaces": ["delta_activations"]}
    (tmp_path / "pool.tsv").write_text(SHEET)
    one = build(two_domains(pools={"s": sheet, "g": globs}), root=tmp_path)
    other = build(two_domains(pools={"g": globs, "s": sheet}), root=tmp_path)
    assert names(one.pools["g"]) == names(other.pools["g"])


def test_merged_models_exist_by_name_and_no_glob_takes_them():
    data = with_delta()
    data["pools"]["both"] = {
        "models": ["m", "n", "m+chat", "n+chat"],
        "spaces": ["delta_activations"],
    }
    plan = build(data)
    assert set(plan.merged) == {"m+chat", "n+chat"}  # not of o, which has another base
    merged = plan.merged["m+chat"]
    assert (merged.folder, merged.base, merged.trained) == ("results/merged/m+chat", "tiny", False)
    assert merged.files()[-1] == "results/merged/m+chat/model.safetensors"
    assert merged.domain == plan.models["m"].domain
    assert names(plan.pools["both"]) == ["m", "m+chat", "n", "n+chat"]
    assert names(plan.pools["p"]) == ["m", "n", "o"]


def test_a_model_has_not_the_name_of_one_that_is_trained_anew():
    data = two_domains(**mixed(kind="silhouettes"), seeds=[42, 7])
    data["models"]["m.seed7"] = data["models"]["n"]
    with pytest.raises(
        AtlasError, match=r"models\.m\.seed7: the name is kept for the seed 7 of 'm'"
    ):
        build(data)


def test_experiments_are_repeated_with_each_further_seed_and_the_main_table_is_not():
    changes = mixed(kind="silhouettes")
    changes["models__far"] = {"base": "tiny", "domain": "z", "source": {"local": "x"}}
    plan = build(two_domains(**changes, seeds=[42, 7]))
    assert plan.repeated_pools("t") == [("p", 42, "p"), ("p", 7, "p.seed7")]
    again = plan.pools["p.seed7"]
    assert names(again) == ["far", "m.seed7", "n.seed7", "xy.seed7"]
    assert plan.models["m.seed7"].seed == model_seed(7, "m") != plan.models["m"].seed
    assert plan.models["m.seed7"].data == plan.models["m"].data
    assert names(plan.pools["p"]) == ["far", "m", "n", "xy"]
    main = build(two_domains(**mixed(), seeds=[42, 7]))
    assert set(main.models) == {"m", "n", "xy"}


def over_the_default(**own):
    """The pools of a user's configuration that is laid over a small default, by name."""
    default = two_domains(grids__g=GRID, pools__named={
        "models": ["tiny-*"], "spaces": ["delta_activations"]})  # fmt: skip
    data = copy.deepcopy(default)
    for section, entries in own.items():
        data[section].update(entries)
    plan = build(data, default=default)
    return {name: names(pool) for name, pool in plan.pools.items()}


def model(dataset):
    return {"base": "tiny", "recipe": "r", "data": [{"dataset": dataset}]}


OWN = {"tiny-x": model("d"), "tiny-y": model("e")}
DEFAULT_GRID = ["tiny-d-first", "tiny-d-second", "tiny-e-first", "tiny-e-second"]


def pool(*models):
    return {"models": list(models), "spaces": ["delta_activations"]}


def test_a_users_glob_takes_the_users_models():
    found = over_the_default(models=OWN, pools={"mine": pool("tiny-*")})
    assert found["mine"] == ["tiny-x", "tiny-y"]
    assert found["named"] == DEFAULT_GRID
    assert found["p"] == ["m", "n", *DEFAULT_GRID]


def test_a_users_glob_takes_those_of_the_default_where_no_other_matches():
    mine = pool("tiny-?-first", "tiny-[xy]", "m")
    assert over_the_default(models=OWN, pools={"mine": mine})["mine"] == [
        "m", "tiny-d-first", "tiny-e-first", "tiny-x", "tiny-y",
    ]  # fmt: skip


def test_what_a_user_changes_is_the_users_and_stays_in_the_pools_of_the_default():
    grid = {"name": "{base}-{data.set}-{split}-again"}
    found = over_the_default(
        models=OWN,
        grids={"g": {**GRID, **grid}},
        pools={"mine": pool("tiny-*"), "named": pool("tiny-*", "n")},
    )
    again = [f"{name}-again" for name in DEFAULT_GRID]
    assert found["p"] == ["m", "n", *again]
    assert found["mine"] == [*again, "tiny-x", "tiny-y"]
    assert found["named"] == ["n", *again, "tiny-x", "tiny-y"]


def test_a_glob_of_the_default_that_only_a_users_models_match():
    default = two_domains(pools__p=pool("x*"))
    data = copy.deepcopy(default)
    data["models"] |= {"x1": model("d"), "x2": model("e")}
    with pytest.raises(AtlasError, match=r"pools\.p\.models: 'x\*' matches no model"):
        build(data, default=default)
    assert names(build(data).pools["p"]) == ["x1", "x2"]


def test_models_of_a_users_sheet_are_the_users(tmp_path):
    (tmp_path / "pool.tsv").write_text(SHEET)
    default = two_domains(pools__p=pool("*"))
    data = copy.deepcopy(default)
    data["pools"] |= {"s": {"sheet": "pool.tsv", **pool()}, "mine": pool("*")}
    plan = build(data, default=default, root=tmp_path)
    assert names(plan.pools["s"]) == names(plan.pools["mine"]) == ["b", "me--a"]
    assert names(plan.pools["p"]) == ["m", "n"]
