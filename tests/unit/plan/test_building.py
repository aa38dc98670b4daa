"""References of a configuration: what they lead to, and which are refused."""

from __future__ import annotations

import json

import pytest

from atlas.errors import AtlasError
from atlas.plan.building import build, in_order
from unit.plan.small_plans import refused, with_delta


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pools__p__models": ["o"]}, "pools.p.models: there is no model 'o'; defined are: m, n"),
        ({"pools__p__models": ["x*"]}, r"pools.p.models: 'x\*' matches no model"),
        ({"pools__p__models": ["m"]}, "pools.p: all 1 models have the domain 'math'.*two domains"),
        ({"pools__p__spaces": ["output_sentences"]}, "pools.p.encoder: there is no encoder"),
        ({"models__m__base": "tinny"}, "models.m.base: there is no base 'tinny'; did you mean 'tiny'"),
        ({"models__m__base": {"model": "o"}}, "models.m.base.model: there is no model 'o'"),
        ({"models__m__recipe": "rr"}, "models.m.recipe: .*did you mean 'r'"),
        ({"models__m__data": [{"dataset": "x"}]}, "models.m.data: there is no dataset 'x'"),
        ({"models__m__data": [{"dataset": "d", "split": "firts"}]}, "split of d 'firts'.*'first'"),
        ({"recipes__r__objective": "dpo"}, "dpo takes rows of kind preference, and d has completion"),
        ({"recipes__r__length": {"policy": "cut"}}, "datasets.d.cut: .*name the column"),
        ({"datasets__d__cut": "qq"}, "datasets.d.cut: there is no column 'qq'; did you mean 'q'"),
        ({"datasets__d__splits": {"parts": ["a", "rest"]}}, "'rest' has a meaning of its own"),
        ({"datasets__d__source": {"random": {"architecture": "llama"}}}, "rows come from"),
        ({"datasets__d__source": {"hub": {"repo": "o/n"}}}, "name the data files"),
        ({"tables__main": {"pools": ["q"]}}, "tables.main.pools: there is no pool 'q'"),
        ({"tables": {"main": {"pools": []}}}, "tables.main.pools: .* names its pools"),
        ({"deltas__x": {"base": "tiny", "instruct": "tinny"}}, "deltas.x.instruct: .*'tiny'"),
        ({"comparisons__c": {"base": "tiny", "models": ["m"], "tasks": ["dd"]}}, "no dataset 'dd'"),
        ({"models": {"..": {}}}, "'..' is not a name; .* begin with a letter"),
        ({"models": {"-x": {}}}, "'-x' is not a name"),
        ({"pools": {".p": {}}}, "'.p' is not a name"),
        ({"models": {"m" * 241: {}}}, "'m+' is not a name; .* at most 240"),
        ({"bases__model--x": {"source": {"local": "."}}}, "kept for models"),
        ({"bases__b": {"source": {"model": "o"}}}, "bases.b.source.model: there is no model 'o'"),
        ({"models__m__base": {"model": "m"}}, "models.m: its base is, through others, itself"),
        ({"models__m__base": {"model": "n"}, "models__n__base": {"model": "m"}}, "m <- n <- m"),
    ],
)  # fmt: skip
def test_wrong_references(changes, message):
    refused(message, **changes)


def test_a_conversation_is_a_column_that_is_there():
    refused(
        r"datasets\.d\.template\.messages: there is no column 'turn'",
        datasets__d__template={"messages": "turn"},
    )


def test_a_model_has_not_the_name_of_a_merged_one():
    data = with_delta()
    data["models"]["m+chat"] = data["models"]["m"]
    with pytest.raises(AtlasError, match=r"models\.m\+chat: the name is that of a merged model"):
        build(data)


def test_a_table_has_not_the_name_of_what_another_writes():
    data = with_delta()
    data["tables"] = {
        "t": {"kind": "temporal", "pools": ["p"], "models": ["m", "n"], "deltas": ["chat"]},
        "t_distances": {"kind": "spaces", "pools": ["p"]},
    }
    with pytest.raises(
        AtlasError, match=r"tables\.t_distances: 't' writes results/tables/t_distance"
    ):
        build(data)
    data["tables"]["t_distance"] = data["tables"].pop("t_distances")
    assert "t_distance" in build(data).config.tables


def test_the_order_of_keys_is_of_no_account():
    """But for that of the entries of a section, and of the lists of a grid."""
    one = in_order({"b": {"y": {"q": 1, "p": [{"d": 1, "c": 2}]}, "x": 3}, "a": [2, 1]})
    assert json.dumps(one) == '{"b": {"y": {"p": [{"c": 2, "d": 1}], "q": 1}, "x": 3}, "a": [2, 1]}'
    lists = {"z": [2, 1], "a": [{"k": 1, "b": 2}]}
    assert list(in_order({"grids": {"g": {"lists": lists}}})["grids"]["g"]["lists"]) == ["z", "a"]
