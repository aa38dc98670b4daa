"""What a job is about, and the names and files that its rule is made of."""

from __future__ import annotations

import re

import pytest

from atlas.errors import AtlasError
from atlas.plan.building import build
from atlas.plan.inputs import MANY_NAMES, constraint, local_files, local_models, settings_of_bases
from atlas.plan.jobs import base_of, compared, model_of, models_of
from unit.plan.small_plans import with_sides
from unit.plan.test_sheets import from_sheet
from unit.plan.test_tasks import config as with_selection


@pytest.mark.parametrize(
    ("wildcards", "base", "model"),
    [
        ({"comparison": "c", "model": "base", "task": "d"}, "tiny", None),
        ({"comparison": "c", "model": "zero", "task": "d"}, "tiny", "zero"),
        ({"table": "t", "checkpoint": "m+chat"}, "tiny", "m+chat"),
        ({"table": "t", "checkpoint": "tiny-chat"}, "tiny-chat", None),
        ({"model": "o"}, "tiny-chat", "o"),
    ],
)
def test_base_and_model_of_a_job(wildcards, base, model):
    plan = build(with_sides())
    found = model_of(plan, wildcards)
    assert base_of(plan, wildcards) == base
    assert (found.name if found else None) == model


def test_bases_of_jobs_that_put_no_model_into_them():
    plan = build(with_sides())
    assert base_of(plan, {"delta": "chat"}) == base_of(plan, {"merged": "n+chat"}) == "tiny"
    assert base_of(plan, {"base": "tiny-chat"}) == "tiny-chat"
    assert base_of(plan, {"pool": "p"}) == plan.pools["p"].writer == "tiny"
    assert base_of(build(with_selection()), {"task": "t", "strategy": "random"}) == "tiny"
    with pytest.raises(AtlasError, match="results/models: there is no model 'q'"):
        base_of(plan, {"model": "q"})


def test_models_of_a_shard_and_of_a_pool():
    plan = build(with_sides())
    pool = plan.pools["p"]
    assert models_of(plan, {"pool": "p"}) == pool.models
    for shard, models in pool.shards.items():
        assert models_of(plan, {"pool": "p", "shard": shard}) == models
    assert pool.full_bases == []


def test_what_is_compared():
    assert compared(build(with_sides()), "c") == [["base", "d"], ["zero", "d"], ["m", "d"]]


def test_a_constraint_takes_its_names_and_no_other():
    few = constraint(["b+c", "a"])
    assert [name for name in ("a", "b+c", "bbc", "d") if re.fullmatch(few, name)] == ["a", "b+c"]
    assert not re.fullmatch(constraint([]), "")
    many = [f"model-{i}" for i in range(MANY_NAMES + 1)]
    among = [*many, "other", "model-1.x"]
    for found in (constraint(many, among=among), constraint(many)):
        matched = [
            name for name in among if re.match(rf"results/({found})/x$", f"results/{name}/x")
        ]
        assert matched == many
    assert len(constraint(many, among=among)) < 100 < len(constraint(many))
    assert re.fullmatch(constraint(many, among=many), "model-7")


def test_files_of_a_users_own(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/adapter_config.json").write_text("{}")
    assert local_files(None) == []
    assert local_files(f"{tmp_path}/gone") == []
    file = str(tmp_path / "here/adapter_config.json")
    assert local_files(file) == [file]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_files("~/x/../here", ["config.json", "adapter_config.json"]) == [file]
    sheet = (
        f"model\tsource\tbase\tdomain\nus/a\t{tmp_path}/here\ttiny\tlaw\nus/b\tus/b\ttiny\tmath\n"
    )
    plan = from_sheet(tmp_path, sheet)
    assert local_models(plan.pools["s"].models) == [file]


def test_settings_of_bases():
    files = settings_of_bases(build(with_sides()), {"tiny-chat", "tiny"})
    assert files == [
        f"results/sources/bases/{base}/{name}"
        for base in ("tiny", "tiny-chat")
        for name in ("base.json", "config.json", "tokenizer.json", "tokenizer_config.json")
    ]  # fmt: skip
