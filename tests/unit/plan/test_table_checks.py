"""What tables of a kind need beyond their pools."""

from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.plan.building import build
from unit.plan.small_plans import mixed, refused, two_domains, with_delta, with_sides


def test_mixtures_of_a_pool_stand_beside_their_parts():
    plan = build(two_domains(**mixed(kind="additive")))
    ((whole, first, second),) = plan.pools["p"].mixtures
    assert (whole.name, first.name, second.name) == ("xy", "m", "n")
    assert plan.tables_of("additive") == ["t"]
    assert plan.tables_of("main") == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"published": {"p": "llma"}},
            "published.p: there is no family 'llma'; did you mean 'llama'",
        ),
        ({"kind": "retrieval"}, "names no pool of queries for 'p'"),
        ({"kind": "retrieval", "queries": {"p": "q"}}, "queries.p: there is no pool 'q'"),
        ({"kind": "silhouettes", "spaces": ["delta_logits"]}, "none of its pools has the space"),
        ({"kind": "outputs"}, "the pool 'p' lacks the space output_sentences"),
    ],
)
def test_what_a_table_of_a_kind_needs(table, message):
    refused(message, **mixed(**table))


def test_an_additive_table_needs_a_mixture():
    refused("has no mixture of two datasets", tables={"t": {"kind": "additive", "pools": ["p"]}})


@pytest.mark.parametrize(
    ("mine", "region", "ok"),
    [("rest", [0.5], True), ("second", [0.5], True), ("first", [0.5], False), ("all", [0.5], False),
     ("region", [0.5], False), ("rest", [1.0], False), ("rest", [1.0, 0.5], True)],
)  # fmt: skip
def test_queries_are_trained_on_rows_that_the_pool_has_not_seen(mine, region, ok):
    queries = {
        f"q{name}": {"base": "tiny", "recipe": "r", "data": [{"dataset": name, "split": mine}]}
        for name in ("d", "e")
    }
    data = two_domains(
        tables__t={"kind": "retrieval", "pools": ["p"], "queries": {"p": "q"}},
        pools__p__models=["m", "n"],
        pools__q={"models": ["q*"], "spaces": ["delta_activations"]},
    )
    for dataset in data["datasets"].values():
        dataset["splits"] = {"region": region}
    data["models"] |= queries
    if ok:
        build(data)
    else:
        with pytest.raises(
            AtlasError, match=r"tables\.t\.queries: qd reads d/.* may be the same rows"
        ):
            build(data)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"models": ["m"], "deltas": []}, "names its models and deltas"),
        ({"models": ["m"], "deltas": ["chatt"]}, "no delta 'chatt'; did you mean 'chat'"),
        (
            {"models": ["o"], "deltas": ["chat"]},
            "of the base 'tiny', and 'o' was trained from 'tiny-chat'",
        ),
        (
            {"models": ["m"], "deltas": ["chat"], "texts": ["d"]},
            "rows of the kind completion, not text",
        ),
        ({"models": ["m"], "deltas": ["chat"], "texts": ["whole"]}, "whole holds no rows out"),
    ],
)
def test_mistakes_in_tables_of_deltas(table, message):
    data = with_delta()
    data["datasets"]["whole"] = {**data["datasets"]["plain"], "splits": {"region": [1.0]}}
    data["tables"] = {"t": {"kind": "instruct", **table}}
    with pytest.raises(AtlasError, match=message):
        build(data)
    data["tables"]["t"] = {
        "kind": "instruct",
        "models": ["m"],
        "deltas": ["chat"],
        "texts": ["plain"],
    }
    build(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["o"]}, "models: 'o' was trained from 'tiny-chat', not from 'tiny'"),
        ({"rl": ["n"]}, "rl: there is no model of this comparison 'n'"),
        ({"tasks": ["plain"]}, "plain has rows of the kind text, without a prompt"),
        ({"tasks": ["dd"]}, "tasks: there is no dataset 'dd'"),
        ({"prompts": 3}, "prompts: 3 prompts do not vary in 3 directions"),
        ({"prompts": 9, "answers": {"prompts": 10}}, "answers.prompts: 10 are more than the 9"),
        ({"streams": ["resid_pre"]}, "streams: leaves out resid_post"),
        ({"learnt": ["plain"]}, "learnt: there is no task of this comparison 'plain'"),
    ],
)
def test_mistakes_in_comparisons(changes, message):
    data = with_delta()
    right = {"base": "tiny", "models": ["m"], "tasks": ["d"]}
    data["comparisons"] = {"c": {**right, **changes}}
    with pytest.raises(
        AtlasError, match=f"comparisons.c.{message}" if "kind" not in message else message
    ):
        build(data)
    data["comparisons"] = {"c": right}
    build(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["tables"]["g"].update(comparisons=[]), "g.comparisons: a table of the kind"),
        (lambda d: d["tables"]["g"].update(comparisons=["x"]), "there is no comparison 'x'"),
        (lambda d: d["comparisons"]["c"].update(rl=[]), "'c' has models of one side only"),
        (lambda d: d["comparisons"]["c"].update(rl=["zero", "m"]), "models of one side only"),
        (
            lambda d: d["tables"]["g"].update(published={"c": "olmo"}),
            "with 8 as shots, and comparisons.c.sh",
        ),
        (lambda d: d["models"]["m"].update(stages=["sft"]), "the stage of a model that is trained"),
    ],
)
def test_mistakes_in_tables_of_geometry(change, message):
    data = with_sides()
    change(data)
    with pytest.raises(AtlasError, match=message):
        build(data)


def test_tables_of_weight_space_are_checked_like_those_of_geometry():
    data = with_sides()
    data["tables"]["w"] = {"kind": "weight_space", "comparisons": ["c"]}
    assert build(data).config.tables["w"].comparisons_read == ["c"]
    data["tables"]["w"]["comparisons"] = []
    message = "w.comparisons: a table of the kind weight_space names its comparisons"
    with pytest.raises(AtlasError, match=message):
        build(data)
