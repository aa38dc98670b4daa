"""Pools: names, globs, repetitions."""

from __future__ import annotations

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
