"""Every kind of table on the micro configuration; models are trained once, whoever asks for them."""

import csv
import json

import numpy as np
import pytest

from atlas.job.records import Records
from atlas.lineage.verify import verify, verify_crate
from micro import lineage, micro_config, planned, snakemake
from reports import check_summary

pytestmark = pytest.mark.workflow
TABLES = ("additive", "robustness", "fewshot", "spaces", "outputs", "parameters",
          "cross_checkpoint", "instructions")  # fmt: skip


def experiments() -> dict:
    config = micro_config()
    config["datasets"]["alpha"]["splits"] = config["datasets"]["beta"]["splits"] = {"region": [0.8]}
    quick = config["recipes"]["quick"]
    config["recipes"] |= {
        "few": {**quick, "rows": 4},
        "whole": {**quick, "parameters": "full", "learning_rate": 0.001},
        "read": {**quick, "objective": "cpt", "parameters": "full", "rows": None,
                 "learning_rate": 0.01, "epochs": 20,
                 "length": {"max_tokens": 64, "policy": "truncate"}},
    }  # fmt: skip
    source = config["datasets"]["alpha"]
    config["datasets"] |= {
        "plain": {"domain": "plain", "source": source["source"], "columns": source["columns"],
                  "template": {"text": "{{ question }} is asked, and {{ answer }} is answered."}},
        **{f"chat-{name}": {
            "domain": f"chat-{name}", "source": config["datasets"][name]["source"],
            "columns": config["datasets"][name]["columns"],
            "template": {"messages": {"user": "{{ question }}", "assistant": "{{ answer }}"}},
        } for name in ("alpha", "beta")},
    }  # fmt: skip
    config["recipes"]["chat"] = {
        **quick,
        "rows": 4,
        "length": {"max_tokens": 400, "policy": "drop"},
    }
    config["models"] = {
        "micro+mixed": {"base": "micro", "recipe": "quick", "data": [
            {"dataset": name, "split": "first", "share": 0.5} for name in ("alpha", "beta")]},
        **{f"few-{name}": {"base": "micro", "recipe": "few",
                           "data": [{"dataset": name, "split": "rest"}]} for name in ("alpha", "beta")},
        **{f"whole-{name}": {"base": "micro", "recipe": "whole", "keep_weights": False,
                             "data": [{"dataset": name}]} for name in ("alpha", "beta")},
        "later": {"base": "micro", "recipe": "read", "data": [{"dataset": "plain", "split": "region"}]},
        **{f"later-{name}": {"base": {"model": "later"}, "recipe": "quick",
                             "data": [{"dataset": name}]} for name in ("alpha", "beta")},
        **{f"said-{name}-{split}": {"base": "micro", "recipe": "chat", "data": [
            {"dataset": f"chat-{name}", "split": split}]}
           for name in ("alpha", "beta") for split in ("first", "second")},
    }  # fmt: skip
    delta = {"spaces": ["delta_activations"]}
    config["pools"] |= {
        "mixed": {"models": ["micro-*-first", "micro+mixed"], **delta},
        "few": {"models": ["few-*"], **delta},
        "parameters": {"models": ["whole-*", "micro-*-second"], **delta},
        "checkpoints": {"models": ["later-*", "micro-*-first"], **delta},
        "chat": {"models": ["said-*"], **delta},
        "family": {"models": ["micro-*"], "continuations": {"per_probe": 2, "new_tokens": 4},
                   "spaces": ["delta_activations", "delta_logits", "delta_weighted",
                              "delta_meaning"]},
    }  # fmt: skip
    config["tables"] |= {
        "additive": {"kind": "additive", "pools": ["mixed"]},
        "robustness": {"kind": "silhouettes", "pools": ["micro", "family"], "published": {}},
        "fewshot": {"kind": "retrieval", "pools": ["micro"], "queries": {"micro": "few"}},
        "spaces": {"kind": "spaces", "pools": ["family"]},
        "outputs": {"kind": "outputs", "pools": ["micro"]},
        "parameters": {"kind": "silhouettes", "pools": ["parameters"], "published": {}},
        "cross_checkpoint": {"kind": "silhouettes", "pools": ["checkpoints"], "published": {}},
        "instructions": {"kind": "silhouettes", "pools": ["chat"], "published": {}},
    }
    config["summary"] = ["main", *TABLES]
    return config


def rows(file) -> list[dict]:
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def made(configured):
    """The tables, made from a finished main job."""
    folder = configured(experiments())
    wanted = [f"results/tables/{name}.csv" for name in TABLES]
    trained = {m for m in planned(folder, *wanted) if m.startswith("train")}
    new = {
        "micro+mixed",
        *(f"{kind}-{name}" for kind in ("few", "later") for name in ("alpha", "beta")),
        *(f"said-{name}-{split}" for name in ("alpha", "beta") for split in ("first", "second")),
    }
    whole = {"later", "whole-alpha", "whole-beta"}
    assert trained == {f"train {m}" for m in new} | {f"train all weights of {m}" for m in whole}
    snakemake(folder, *wanted, "--cores", "2", "--resources", "gpu=1")
    return folder


def test_every_table_has_a_page_and_a_figure(made):
    for name in TABLES:
        assert rows(made / f"results/tables/{name}.csv")
        assert (made / f"results/tables/{name}.md").read_text().startswith("# ")
        if name != "outputs":
            for suffix in ("svg", "png"):
                assert (made / f"results/figures/{name}.{suffix}").stat().st_size > 1000


def test_additivity_is_that_of_the_stored_embeddings(made):
    (row,) = rows(made / "results/tables/additive.csv")
    data = np.load(made / "results/pools/mixed/delta_activations/embeddings.npz")
    of = {
        str(n): e.astype(float)
        for n, e in zip(data["model_names"], data["embeddings"], strict=True)
    }
    mixed, total = of["micro+mixed"], of["micro-alpha-first"] + of["micro-beta-first"]
    expected = mixed @ total / np.linalg.norm(mixed) / np.linalg.norm(total)
    assert float(row["cosine_sum"]) == pytest.approx(expected)
    assert (row["first"], row["second"]) == ("alpha", "beta")


def test_a_mixture_has_half_its_rows_from_each(made):
    used = [json.loads(line)["dataset"] for line in
            (made / "results/models/micro+mixed/rows.jsonl").read_text().splitlines()]  # fmt: skip
    assert sorted(used) == ["alpha"] * 3 + ["beta"] * 3


def test_few_shot_rows_are_in_no_model_of_the_pool(made):
    def used(pattern) -> set:
        return {
            (row["dataset"], row["row"])
            for file in made.glob(f"results/models/{pattern}/rows.jsonl")
            for row in map(json.loads, file.read_text().splitlines())
        }

    assert len(used("few-*")) == 8
    assert not used("few-*") & used("micro-*")


def test_retrieval_ranks_by_the_stored_embeddings(made):
    found = rows(made / "results/tables/fewshot.csv")
    assert [r["query"] for r in found] == ["few-alpha", "few-beta", "accuracy"]
    assert {r["candidates"] for r in found} == {"4"}
    assert 0 <= float(found[-1]["accuracy"]) <= 1


def test_the_family_by_layer_and_by_probes(made):
    found = rows(made / "results/tables/spaces.csv")
    spaces = {r["space"]: r["silhouette"] for r in found if r["curve"] == "space"}
    assert set(spaces) == {"delta_activations", "delta_logits", "delta_weighted", "delta_meaning"}
    layers = [r for r in found if r["curve"] == "layer"]
    assert [r["value"] for r in layers] == ["0", "1", "2"]
    assert "does not differ" in layers[0]["reason"]
    # The last layer, and all probes, are delta activations as they are.
    probes = [r for r in found if r["curve"] == "probes"]
    assert [r["value"] for r in probes] == ["1", "2", "3", "4", "5"]
    for row in (layers[-1], probes[-1]):
        assert float(row["silhouette"]) == pytest.approx(
            float(spaces["delta_activations"]), abs=1e-6
        )


def test_silhouettes_have_intervals(made):
    found = rows(made / "results/tables/robustness.csv")
    assert {r["pool"] for r in found} == {"micro", "family"}
    for row in found:
        assert float(row["low"]) <= float(row["silhouette"]) <= float(row["high"])


def test_outputs_are_those_of_the_pool(made):
    found = rows(made / "results/tables/outputs.csv")
    assert len(found) == 4 * 5


def test_weights_that_are_not_kept_are_gone_and_known(made):
    whole = [f"results/models/whole-{name}/model.safetensors" for name in ("alpha", "beta")]
    assert not any((made / file).exists() for file in whole)
    assert all((made / file).with_name("training.csv").is_file() for file in whole)
    report = verify(Records(made))
    assert report.faults == []
    assert report.absent == whole
    # The base of other models was kept, and what is gone is not made again for its own sake.
    assert (made / "results/models/later/model.safetensors").is_file()
    assert planned(made, *(f"results/tables/{name}.csv" for name in TABLES)) == set()
    done = lineage(made, "explain", "results/tables/parameters.csv")
    assert done.returncode == 0, done.stdout


def test_a_crate_names_weights_that_are_not_kept(made):
    target = "results/crates/parameters/ro-crate-metadata.json"
    snakemake(made, target, "--cores", "1")
    graph = json.loads((made / target).read_text())["@graph"]
    whole = "results/models/whole-alpha/model.safetensors"
    (entity,) = [e for e in graph if whole in str(e.get("alternateName"))]
    made_by = Records(made).statement(whole)
    assert entity["sha256"] == made_by.outputs[whole]
    assert entity["contentSize"] == str(made_by.temporary[whole])
    assert verify_crate((made / target).parent).faults == []


def test_continued_pre_training_is_measured_on_held_out_text(made):
    (row,) = rows(made / "results/models/later/perplexity.csv")
    assert (row["model"], row["base"], row["dataset"]) == ("later", "micro", "plain")
    assert int(row["documents"]) == 6  # the last fifth of thirty
    assert float(row["perplexity"]) < 0.9 * float(row["base_perplexity"])
    assert "held-out texts of plain" in (made / "results/tables/cross_checkpoint.md").read_text()


def test_two_checkpoints_are_labelled_by_domain_and_by_base(made):
    found = rows(made / "results/tables/cross_checkpoint.csv")
    assert {r["label"] for r in found} == {"domain", "base"}
    data = np.load(made / "results/pools/checkpoints/delta_activations/embeddings.npz")
    bases = dict(zip(data["model_names"].tolist(), data["base_model"].tolist(), strict=True))
    assert bases["later-alpha"] == "model--later"
    assert bases["micro-alpha-first"] == "micro"


def test_the_summary_and_the_report(made):
    text = check_summary(made, *(table for table in TABLES if table != "outputs"))
    assert text.count("\n## ") == len(TABLES) + 3
