from __future__ import annotations

import hashlib

import pytest

from atlas.errors import AtlasError
from atlas.plan.plan import build
from atlas.plan.resolved import model_seed, weight_names
from unit.configuration.test_config import small

GRID = {
    "name": "{base}-{data.set}-{split}",
    "lists": {"base": ["tiny"], "data": [{"set": "d", "rows": 4}, {"set": "e", "rows": 8}],
              "split": ["first", "second"]},
    "model": {"base": "{base}", "recipe": "r",
              "data": [{"dataset": "{data.set}", "split": "{split}", "rows": "{data.rows}"}]},
}  # fmt: skip


def two_domains(**changes):
    """A small configuration with two datasets and a model of each."""
    data = small()
    data["datasets"]["e"] = {**data["datasets"]["d"], "domain": "legal"}
    data["models"]["n"] = {"base": "tiny", "recipe": "r", "data": [{"dataset": "e"}]}
    data["pools"] = {"p": {"models": ["*"], "spaces": ["delta_activations"]}}
    for path, value in changes.items():
        *parents, last = path.split("__")
        entry = data
        for key in parents:
            entry = entry.setdefault(key, {})
        entry[last] = value
    return data


def names(pool):
    return [model.name for model in pool.models]


def refused(message, **changes):
    with pytest.raises(AtlasError, match=message):
        build(two_domains(**changes))


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


def test_a_grid_generates_models():
    plan = build(two_domains(grids__g=GRID))
    made = plan.models["tiny-e-second"]
    assert set(plan.models) == {"m", "n", "tiny-d-first", "tiny-d-second", "tiny-e-first",
                                "tiny-e-second"}  # fmt: skip
    assert (made.data[0].dataset, made.data[0].split, made.data[0].rows) == ("e", "second", 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "x-{split}"}, "grids.g.name: 'x-first' is generated twice"),
        ({"name": "{spilt}"}, "no placeholder 'spilt'; did you mean 'split'"),
        ({"name": "{data.sett}"}, "{data.sett} has no value"),
        ({"name": "a b {data.set} {split}"}, "'a b d first' is not a name"),
        ({"model": {"base": "tiny", "recipe": "r", "dta": []}}, "unknown key 'dta'.*'data'"),
    ],
)
def test_mistakes_in_grids(changes, message):
    refused(message, grids__g={**GRID, **changes})


def test_a_name_has_one_definition():
    clash = {**GRID, "name": "m", "lists": {k: v[:1] for k, v in GRID["lists"].items()}}
    refused("grids.g: generates the model 'm', which is defined differently", grids__g=clash)


def test_a_pool_is_sorted_and_each_model_stands_once():
    pool = build(two_domains(grids__g=GRID, pools__p__models=["n", "*first", "tiny-d*"])).pools["p"]
    assert names(pool) == ["n", "tiny-d-first", "tiny-d-second", "tiny-e-first"]
    assert pool.bases == ["tiny"]


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
        ({"bases__model--x": {"source": {"local": "."}}}, "kept for models"),
        ({"bases__b": {"source": {"model": "o"}}}, "bases.b.source.model: there is no model 'o'"),
        ({"models__m__base": {"model": "m"}}, "models.m: its base is, through others, itself"),
        ({"models__m__base": {"model": "n"}, "models__n__base": {"model": "m"}}, "m <- n <- m"),
    ],
)  # fmt: skip
def test_wrong_references(changes, message):
    refused(message, **changes)


def test_a_model_as_base_of_another():
    plan = build(two_domains(models__n__base={"model": "m"}, pools__p__models=["m", "n"]))
    assert plan.models["n"].base == "model--m"
    assert plan.base_files("model--m")[0] == "results/sources/bases/model--m/base.json"
    assert plan.pools["p"].bases == ["model--m", "tiny"]


def test_a_mixture_has_both_domains():
    data = [{"dataset": "d", "share": 0.5}, {"dataset": "e", "share": 0.5}]
    assert build(two_domains(models__m__data=data)).models["m"].domain == "math+legal"


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


SHEET = "model\tsource\tbase\tdomain\nme/a\tme/a@v1\ttiny\tmath\nb\t./b\ttiny\tlegal\n"


def from_sheet(tmp_path, text, pools=None):
    (tmp_path / "pool.tsv").write_text(text)
    data = two_domains(pools={"s": {"sheet": "pool.tsv", "spaces": ["delta_activations"]}})
    data["pools"] |= pools or {}
    return build(data, root=tmp_path)


def test_a_sheet_of_fetched_models(tmp_path):
    plan = from_sheet(tmp_path, SHEET)
    assert names(plan.pools["s"]) == ["b", "me--a"]
    assert plan.models["me--a"].source == {"hub": {"repo": "me/a", "revision": "v1", "files": []}}
    assert plan.models["b"].source == {"local": "./b"}
    assert not plan.models["b"].trained
    assert plan.models["b"].domain == "legal"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHEET.replace("domain", "label", 1), "the column 'domain' is missing"),
        (SHEET.replace("\ttiny\t", "\ttinny\t", 1), "line 2: there is no base 'tinny'.*'tiny'"),
        (SHEET.replace("\tlegal", "\t"), "line 3: 'domain' is empty"),
        (SHEET.replace("\tlegal", ""), "line 3: 'domain' is empty"),
        (SHEET.replace("b\t./b", "me--a\t./b"), "line 3: the model 'me--a' stands in the sheet twice"),
        (SHEET.replace("b\t./b", "b b\t./b"), "line 3: 'b b' is not a name"),
        (SHEET.replace("./b", "what is this"), "line 3: .*neither a folder nor a repository"),
        (SHEET.splitlines()[0] + "\n", "the sheet has no models"),
    ],
)  # fmt: skip
def test_mistakes_in_a_sheet(tmp_path, text, message):
    with pytest.raises(AtlasError, match=rf"pool\.tsv.*{message}"):
        from_sheet(tmp_path, text)


def test_a_missing_sheet(tmp_path):
    with pytest.raises(AtlasError, match=r"no\.tsv: there is no such sheet"):
        build(two_domains(pools__p={"sheet": "no.tsv"}), root=tmp_path)


def test_globs_mean_the_same_whatever_the_order_of_pools(tmp_path):
    sheet = {"sheet": "pool.tsv", "spaces": ["delta_activations"]}
    globs = {"models": ["*"], "spaces": ["delta_activations"]}
    (tmp_path / "pool.tsv").write_text(SHEET)
    one = build(two_domains(pools={"s": sheet, "g": globs}), root=tmp_path)
    other = build(two_domains(pools={"g": globs, "s": sheet}), root=tmp_path)
    assert names(one.pools["g"]) == names(other.pools["g"])


def test_trained_and_fetched_models_in_one_pool(tmp_path):
    plan = from_sheet(tmp_path, SHEET, {"s": {
        "sheet": "pool.tsv", "models": ["m"], "spaces": ["delta_activations"],
    }})  # fmt: skip
    assert names(plan.pools["s"]) == ["b", "m", "me--a"]


THIRD = SHEET + "c\tme/c\ttiny\tlegal\n"
PASSING = {"sheet": "pool.tsv", "spaces": ["delta_activations"], "keep_weights": False, "shards": 2}


def test_excluding_an_adapter_that_is_not_kept_leaves_its_shard_as_it_is(tmp_path):
    whole = from_sheet(tmp_path, THIRD, {"s": PASSING}).pools["s"]
    without = from_sheet(tmp_path, THIRD, {"s": PASSING | {"excluded": ["c"]}}).pools["s"]
    assert names(without) == ["b", "me--a"]
    assert without.shards == whole.shards
    assert without.listed == whole.listed
    kept = PASSING | {"excluded": ["c"], "keep_weights": True}
    pool = from_sheet(tmp_path, THIRD, {"s": kept}).pools["s"]
    assert sorted(m.name for some in pool.shards.values() for m in some) == ["b", "me--a"]


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"excluded": ["d"]}, r"pools\.s\.excluded: there is no model 'd'"),
        ({"excluded": ["b", "c", "me--a"]}, r"pools\.s\.excluded: no model is left"),
        ({"spaces": ["salient_mask"]}, r"keep_weights: .*give spaces: \[delta_activations\]"),
        (
            {"models": ["m"]},
            r"keep_weights: only adapters made elsewhere may go, and m is made here",
        ),
    ],
)
def test_pools_that_cannot_do_without_weights(tmp_path, pool, message):
    with pytest.raises(AtlasError, match=message):
        from_sheet(tmp_path, THIRD, {"s": PASSING | pool})


def mixed(**table):
    """Two single models, a mixture of their datasets, and a table of their pool."""
    share = [{"dataset": d, "split": "first", "share": 0.5} for d in ("d", "e")]
    return {
        "models__xy": {"base": "tiny", "recipe": "r", "data": share},
        "tables": {"t": {"pools": ["p"], **table}},
    }


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


def test_only_full_models_that_are_trained_here_may_go():
    whole = {"models__m__keep_weights": False, "recipes__r__parameters": "full"}
    assert not build(two_domains(**whole)).models["m"].keep_weights
    refused(r"models\.m\.keep_weights: adapters are small", models__m__keep_weights=False)


def test_a_conversation_is_a_column_that_is_there():
    refused(
        r"datasets\.d\.template\.messages: there is no column 'turn'",
        datasets__d__template={"messages": "turn"},
    )


def with_delta(**changes):
    data = two_domains(**changes)
    data["bases"]["tiny-chat"] = data["bases"]["tiny"]
    data["deltas"] = {"chat": {"base": "tiny", "instruct": "tiny-chat"}}
    data["models"]["o"] = {"base": "tiny-chat", "recipe": "r", "data": [{"dataset": "d"}]}
    data["datasets"]["plain"] = {**data["datasets"]["d"], "template": {"text": "{{ q }}"}}
    data["datasets"]["plain"].pop("cut", None)
    return data


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


def test_a_model_has_not_the_name_of_a_merged_one():
    data = with_delta()
    data["models"]["m+chat"] = data["models"]["m"]
    with pytest.raises(AtlasError, match=r"models\.m\+chat: the name is that of a merged model"):
        build(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ["o"]}, "models: 'o' was trained from 'tiny-chat', not from 'tiny'"),
        ({"rl": ["n"]}, "rl: there is no model of this comparison 'n'"),
        ({"tasks": ["plain"]}, "plain has rows of the kind text, without a prompt"),
        ({"tasks": ["dd"]}, "tasks: there is no dataset 'dd'"),
        ({"prompts": 3}, "prompts: 3 prompts do not vary in 3 directions"),
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


def with_sides():
    """A model trained on solutions, and a fetched one that was trained with rewards."""
    data = with_delta()
    data["bases"]["tiny"]["stages"] = ["pre-training"]
    data["models"]["zero"] = {"base": "tiny", "source": {"local": "zero"}, "domain": "math",
                              "kind": "full", "stages": ["rlvr"]}  # fmt: skip
    data["comparisons"] = {"c": {
        "base": "tiny", "models": ["zero", "m"], "rl": ["zero"], "tasks": ["d"],
    }}  # fmt: skip
    data["tables"] = {"g": {"kind": "geometry", "comparisons": ["c"]}}
    return data


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["tables"]["g"].update(comparisons=[]), "g.comparisons: a table of the kind"),
        (lambda d: d["tables"]["g"].update(comparisons=["x"]), "there is no comparison 'x'"),
        (lambda d: d["comparisons"]["c"].update(rl=[]), "'c' has models of one side only"),
        (lambda d: d["comparisons"]["c"].update(rl=["zero", "m"]), "models of one side only"),
        (lambda d: d["models"]["m"].update(stages=["sft"]), "the stage of a model that is trained"),
    ],
)
def test_mistakes_in_tables_of_geometry(change, message):
    data = with_sides()
    change(data)
    with pytest.raises(AtlasError, match=message):
        build(data)
