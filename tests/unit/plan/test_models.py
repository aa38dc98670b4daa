"""Models: bases, mixtures, weights that go."""

from __future__ import annotations

from atlas.plan.building import build
from unit.plan.small_plans import refused, two_domains


def test_a_model_as_base_of_another():
    plan = build(two_domains(models__n__base={"model": "m"}, pools__p__models=["m", "n"]))
    assert plan.models["n"].base == "model--m"
    assert plan.base_files("model--m")[0] == "results/sources/bases/model--m/base.json"
    assert plan.pools["p"].bases == ["model--m", "tiny"]


def test_a_mixture_has_both_domains():
    data = [{"dataset": "d", "share": 0.5}, {"dataset": "e", "share": 0.5}]
    assert build(two_domains(models__m__data=data)).models["m"].domain == "math+legal"


def test_only_full_models_that_are_trained_here_may_go():
    whole = {"models__m__keep_weights": False, "recipes__r__parameters": "full"}
    assert not build(two_domains(**whole)).models["m"].keep_weights
    refused(r"models\.m\.keep_weights: adapters are small", models__m__keep_weights=False)
