"""What rules of tables, summaries, crates and uploads read and are told."""

from __future__ import annotations

import yaml

from atlas.plan import members, publishing, summary, tables
from atlas.plan.building import build
from unit.plan.small_plans import mixed, two_domains, with_delta, with_sides
from unit.plan.test_sheets import from_sheet
from unit.plan.test_tasks import config as with_selection

FIGURES = [f"results/pools/p/figures/{kind}_delta_activations.svg"
           for kind in ("map", "similarity", "silhouette")]  # fmt: skip
BESIDE = [*FIGURES, "results/pools/p/neighbours.csv", "results/pools/p/navigator.html"]


def test_files_of_pools_and_their_repetitions():
    plan = build(two_domains(**mixed(kind="silhouettes"), seeds=[42, 7]))
    assert tables.pool_files(plan, "t", "x.csv") == [
        "results/pools/p/x.csv", "results/pools/p.seed7/x.csv",
    ]  # fmt: skip
    assert tables.embeddings(plan, "t") == [
        ("p", "results/pools/p/delta_activations/embeddings.npz")
    ]
    assert [row["folder"] for row in tables.mixtures(plan, "t")] == ["p", "p.seed7"]
    first = tables.mixtures(plan, "t")[0]
    assert (first["mixed"], first["first"], first["second_domain"]) == ("xy", "m", "legal")
    assert tables.models(plan, "t")[0] == {
        "pool": "p",
        "name": "m",
        "base": "tiny",
        "domain": "math",
    }


def test_sentences_of_a_table():
    plan = build(two_domains(**mixed(kind="silhouettes")))
    shards = plan.pools["p"].shards
    assert tables.sentences(plan, "t") == [
        f"results/pools/p/shards/{shard}.sentences.jsonl" for shard in shards
    ]


def test_published_figures_are_those_of_pools_of_the_table():
    plan = build(two_domains(tables__t={"pools": ["p"], "published": {"p": "llama", "q": "qwen"}}))
    assert tables.published(plan, "t") == {"p": "llama"}


def test_what_is_drawn_with_a_table():
    data = with_sides()
    data["tables"]["t"] = {"pools": ["p"]}
    plan = build(data)
    assert tables.companions(plan, "t") == BESIDE
    folder = "results/comparisons/c/figures"
    drawn = [f"{folder}/{kind}.svg" for kind in ("preservation", "effective_rank", "spectra")]
    assert tables.companions(plan, "g") == drawn
    data["comparisons"]["c"]["rl"] = ["m"]
    plan = build(data)
    assert tables.companions(plan, "g") == [*drawn, f"{folder}/reward.svg"]
    assert tables.rewarded(plan, "g") == ["m"]


def test_what_the_summary_shows_of_a_table():
    data = two_domains(tables__t={"pools": ["p"]}, summary=["t"])
    data["tables"]["o"] = {"kind": "silhouettes", "pools": ["p"]}
    data["summary"] = ["t", "o"]
    plan = build(data)
    one, other = summary.entries(plan)
    assert one["figures"] == [
        ["T", "figures/t.svg"],
        ["Map of p by delta activations", "pools/p/figures/map_delta_activations.svg"],
        ["Similarities of p by delta activations", "pools/p/figures/similarity_delta_activations.svg"],
    ]  # fmt: skip
    assert one["navigators"] == [["p", "pools/p/navigator.html"]]
    assert (other["figures"], other["navigators"]) == ([["O", "figures/o.svg"]], [])
    assert summary.figures(plan)[-1] == "results/figures/o.svg"
    said = yaml.safe_load(summary.configuration(plan))
    assert said["tables"]["o"] == {"kind": "silhouettes", "pools": ["p"]}
    assert said["pools"].keys() == {"p"}


def test_comparisons_of_a_table():
    (found,) = tables.comparisons(build(with_sides()), "g")
    assert found == {
        "name": "c", "base": "tiny", "stages": ["pre-training"], "rewarded": [],
        "sft": {"m": ["pre-training", "sft"]}, "rl": {"zero": ["pre-training", "rlvr"]},
    }  # fmt: skip


def test_checkpoints_and_pairs_of_a_table_of_deltas():
    data = with_delta()
    data["tables"] = {
        "t": {"kind": "temporal", "pools": ["p"], "models": ["m", "n"], "deltas": ["chat"]}
    }
    plan = build(data)
    names = ["tiny", "tiny-chat", "m", "m+chat", "n", "n+chat"]
    assert tables.evaluations(plan, "t") == [f"results/evaluations/t/{n}.json" for n in names]
    assert tables.pairs(plan, "t") == [["m", "n", ""], ["m+chat", "n+chat", "chat"]]


def test_perplexities_of_bases_that_read_text():
    data = with_delta()
    data["recipes"]["read"] = {**data["recipes"]["r"], "objective": "cpt",
                               "length": {"policy": "truncate"}}  # fmt: skip
    data["models"]["reader"] = {"base": "tiny", "recipe": "read", "data": [{"dataset": "plain"}]}
    data["models"]["n"]["base"] = {"model": "reader"}
    data["pools"]["p"]["models"] = ["m", "n"]
    data["tables"] = {"t": {"kind": "silhouettes", "pools": ["p"]}}
    assert tables.perplexities(build(data), "t") == ["results/models/reader/perplexity.csv"]


def test_answers_of_a_selection():
    data = with_selection(seeds=2, strategies=["random"], examples=3)
    data["tables"] = {"t": {"kind": "selection", "selections": ["s"]}}
    plan = build(data)
    runs = [(run["strategy"], run["seed"]) for run in tables.selection_runs(plan, "t")]
    assert runs == [(None, None), ("random", 1), ("random", 2)]
    assert tables.answers(plan, "t") == [
        f"results/selection/t/{folder}answers.csv" for folder in ("", "random-1/", "random-2/")
    ]
    assert tables.selection_sizes(plan, "t") == {"s": {"models": 2, "examples": 3}}


def test_what_the_summary_reads():
    main, other = {"pools": ["p"]}, {"kind": "silhouettes", "pools": ["p"]}
    plan = build(two_domains(tables={"t": main, "u": other}))
    assert summary.beside(plan) == [
        "results/pools/p/silhouette.csv", "results/pools/p/neighbours.csv",
    ]  # fmt: skip
    first, second = summary.entries(plan)
    assert (first["name"], first["kind"], len(first["beside"])) == ("t", "main", 2)
    assert (second["name"], second["kind"], second["beside"]) == ("u", "silhouettes", [])
    assert summary.pools(plan) == [
        {
            "name": "p",
            "models": 2,
            "domains": ["legal", "math"],
            "bases": ["tiny"],
            "recipes": ["r"],
        }
    ]


def test_a_crate_is_asked_for_by_the_name_of_a_table_or_by_a_path():
    plan = build(two_domains(tables={"t": {"pools": ["p"]}, "models": {"pools": ["p"]}}))
    assert publishing.crate_tables(plan) == ["t"]
    assert publishing.crate_artefact(plan, "t") == "results/tables/t.csv"
    assert publishing.crate_artefact(plan, "models/m/x") == "results/models/m/x"
    assert publishing.crate_companions(plan, "t") == BESIDE
    assert publishing.crate_companions(plan, "tables/models.csv") == BESIDE
    assert publishing.crate_companions(plan, "models/m/x") == []


def test_a_delta_is_uploaded_with_where_both_models_are_from():
    data = with_delta()
    data["bases"]["tiny-chat"] = {"source": {"hub": {"repo": "lab/chat"}}, "licence": "mit"}
    data["pushes"] = {"d": {"path": "deltas/chat", "repo": "me/d"},
                      "m": {"path": "models/m", "repo": "me/m"}}  # fmt: skip
    plan = build(data)
    found = publishing.push_origins(plan, "d")
    assert found["base"]["address"] == "results/sources/bases/tiny"
    assert found["instruct"] == {"address": "lab/chat", "revision": "main", "licence": "mit"}
    assert publishing.push_origins(plan, "m") == {}


def test_models_of_a_pool_as_the_navigator_has_them(tmp_path):
    plan = build(with_delta())
    model = members.navigator_models(plan, "p")[0]
    assert (model["name"], model["file"]) == ("m", "results/models/m/adapter_model.safetensors")
    assert model["seed"] == plan.models["m"].seed
    assert model["data"] == [d.model_dump() for d in plan.models["m"].data]
    assert list(members.navigator_datasets(plan, "p")) == ["d", "e"]
    sheet = "model\tsource\tbase\tdomain\nz\tus/z\ttiny\tlaw\nb\tus/b@v1\ttiny\tmath\n"
    plan = from_sheet(tmp_path, sheet)
    assert [m["origin"] for m in members.navigator_models(plan, "s")] == [
        "us/b at v1",
        "us/z at main",
    ]
    first = members.navigator_models(plan, "s")[0]
    assert first["seed"] is None
    assert (first["hub"], first["source"], first["kind"]) == ("us/b", "us/b@v1", "adapter")
    assert (model["hub"], model["source"]) == (None, "./results/models/m")
    more = "model\tsource\tbase\tdomain\tdate\nz\tus/z\ttiny\tlaw\t2024-05-31 \nb\tus/b\ttiny\tmath\t\n"
    dated = from_sheet(tmp_path, more)
    assert [m["more"] for m in members.navigator_models(dated, "s")] == [
        {"date": ""}, {"date": "2024-05-31"},
    ]  # fmt: skip
    assert members.reported_models(plan, "s") == [
        {"name": "b", "source": "us/b at v1"},
        {"name": "z", "source": "us/z at main"},
    ]
