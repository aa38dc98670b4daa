"""Selections and retrievals on micro configurations, causal and sequence-to-sequence."""

import csv
import json
import subprocess
import sys

import pytest
import torch
import yaml

from atlas.job.records import Records
from atlas.lineage.verify import verify
from micro import environment, lineage, micro_config, planned, snakemake
from reports import check_summary

pytestmark = pytest.mark.workflow
T5 = {
    "d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2,
    "relative_attention_num_buckets": 8, "dropout_rate": 0.0,
}  # fmt: skip
STRATEGIES = ["similar", "similar+random"]
METHODS = ["lorahub", "average", "ties", "dare"]
SMALL = {"pool": "micro", "size": 2, "examples": 3, "seeds": 2, "budget": 6, "rows": 4, "penalty": 0.0,
         "new_tokens": 3, "recipe": "few"}  # fmt: skip


def task(source: str) -> dict:
    return {
        "domain": "parity", "source": {"local": "data/parity.jsonl"},
        "columns": {"number": "number", "answer": "answer"},
        "template": {"task": f"Is it {source}?", "input": "{{ number }}",
                     "completion": " {{ answer }}"},
        "cut": "number", "splits": {"region": [0.5]},
    }  # fmt: skip


def selections() -> dict:
    config = micro_config()
    quick = config["recipes"]["quick"]
    config["bases"]["t5"] = {"source": {"random": {"architecture": "t5", "seed": 2, "config": T5}}}
    config["recipes"] |= {
        "few": {**quick, "rows": None, "epochs": 4},
        "wide": {**quick, "lora": {"r": 3, "alpha": 4}},
        "t5": {**quick, "lora": {"r": 2, "alpha": 4, "targets": ["q", "v"]}},
        "few-t5": {**quick, "rows": None, "lora": {"r": 2, "alpha": 4, "targets": ["q", "v"]}},
    }
    config["datasets"] |= {"even": task("even"), "even-t5": task("even")}
    # A model of another rank among the four.
    config["models"] = {"wide": {"base": "micro", "recipe": "wide", "domain": "gamma", "data": [
        {"dataset": "alpha", "split": "third"}]}}  # fmt: skip
    config["grids"]["t5"] = {
        "name": "t5-{dataset}-{split}",
        "lists": {"dataset": ["alpha", "beta"], "split": ["first"]},
        "model": {"base": "t5", "recipe": "t5",
                  "data": [{"dataset": "{dataset}", "split": "{split}"}]},
    }  # fmt: skip
    space = {"spaces": ["delta_activations"]}
    config["pools"] |= {"ranks": {"models": ["micro-*", "wide"], **space},
                        "t5": {"models": ["t5-*"], **space}}  # fmt: skip
    config["selections"] = {
        "small": {**SMALL, "pool": "ranks", "tasks": ["even"], "strategies": STRATEGIES},
        "t5": {
            **SMALL,
            "pool": "t5",
            "recipe": "few-t5",
            "tasks": ["even-t5"],
            "seeds": 1,
            "strategies": ["random"],
        },
    }
    config["tables"]["selection"] = {
        "kind": "selection", "selections": ["small", "t5"], "published": {"small": "bbh"},
    }  # fmt: skip
    config["summary"] = ["selection"]
    return config


def parity(folder) -> None:
    rows = [{"number": str(i), "answer": "no" if i % 2 else "yes"} for i in range(24)]
    (folder / "data/parity.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def rows(file) -> list[dict]:
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


BILL = "results/selection/even-t5/random-1/bom.cdx.json"


@pytest.fixture(scope="module")
def made(configured):
    """The table, and no other."""
    folder = configured(selections())
    parity(folder)
    snakemake(folder, "results/tables/selection.csv", BILL, "--cores", "2", "--resources", "gpu=1")
    trained = {f.parent.name for f in (folder / "results/models").glob("*/training.csv")}
    tasks = {"selection-even", "selection-even-t5"}
    pools = {f"micro-{d}-{s}" for d in ("alpha", "beta") for s in ("first", "second")}
    assert trained == tasks | pools | {"wide", "t5-alpha-first", "t5-beta-first"}
    return folder


def test_the_table_has_every_task_strategy_and_method(made):
    found = rows(made / "results/tables/selection.csv")
    keys = [(r["selection"], r["task"], r["strategy"], r["method"]) for r in found]
    assert len(set(keys)) == len(keys)
    expected = {
        (selection, task, strategy, method)
        for selection, only, strategies in (
            ("small", "even", STRATEGIES),
            ("t5", "even-t5", ["random"]),
        )
        for task in (only, "mean")
        for strategy, methods in (("", ("base", "few-shot")), *((s, METHODS) for s in strategies))
        for method in methods
    }
    assert set(keys) == expected
    for row in found:
        assert 0 <= float(row["exact_match"]) <= 1
        assert (float(row["chance"]), float(row["majority"])) == (0.5, 0.5)
        beside = (
            row["task"] == "mean" and row["method"] == "lorahub" and row["selection"] == "small"
        )
        assert bool(row["published"]) == beside
    page = (made / "results/tables/selection.md").read_text()
    assert "(36.3)" in page
    assert (made / "results/figures/selection.svg").stat().st_size > 1000


def test_each_run_has_its_search_models_answers_and_card(made):
    runs = [f"even/{strategy}-{seed}" for strategy in STRATEGIES for seed in (1, 2)]
    for run in [*runs, "even-t5/random-1"]:
        folder = made / f"results/selection/{run}"
        steps, chosen = rows(folder / "search.csv"), rows(folder / "models.csv")
        assert [s["step"] for s in steps] == [str(i) for i in range(1, 7)]
        assert list(steps[0])[3:] == [c["model"] for c in chosen]
        answers = rows(folder / "answers.csv")
        assert list(dict.fromkeys(r["method"] for r in answers)) == METHODS
        assert len(answers) == 4 * len(METHODS)
        card = (folder / "README.md").read_text()
        assert all(c["model"] in card for c in chosen)


def test_the_bill_of_a_composed_model_has_those_that_were_chosen(made):
    bill = json.loads((made / BILL).read_text())
    assert bill["metadata"]["component"]["bom-ref"] == "composed/even-t5/random-1"
    chosen = {line["model"] for line in rows((made / BILL).with_name("models.csv"))}
    refs = {part["bom-ref"] for part in bill["components"]}
    assert {ref for ref in refs if ref.startswith("model/")} == {f"model/{name}" for name in chosen}


def test_strategies_choose_by_the_stored_similarities(made):
    run = made / "results/selection/even"
    ranked = [r["model"] for r in rows(run / "models.csv")]
    assert len(ranked) == 5
    assert {r["model"] for r in rows(run / "similar-1/models.csv")} == set(ranked[:2])
    mixed = {r["model"] for r in rows(run / "similar+random-1/models.csv")}
    assert len(mixed) == 2
    assert ranked[0] in mixed


def test_the_composed_adapter_is_the_weighted_sum_and_loads(made):
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForSeq2SeqLM

    folder = made / "results/selection/even-t5/random-1"
    chosen = rows(folder / "models.csv")
    assert any(float(c["weight"]) for c in chosen)
    found = load_file(folder / "adapter_model.safetensors")
    parts = [load_file(made / f"results/models/{c['model']}/adapter_model.safetensors")
             for c in chosen]  # fmt: skip
    for name, tensor in found.items():
        total = sum(float(c["weight"]) * p[name] for c, p in zip(chosen, parts, strict=True))
        assert torch.allclose(tensor, total, atol=1e-6)
    base = AutoModelForSeq2SeqLM.from_pretrained(made / "results/sources/bases/t5")
    PeftModel.from_pretrained(base, folder)


def test_examples_are_not_among_the_rows_that_are_answered(made):
    few = {json.loads(line)["row"] for line in
           (made / "results/models/selection-even/rows.jsonl").read_text().splitlines()}  # fmt: skip
    answered = {int(r["row"]) for r in rows(made / "results/selection/even/answers.csv")}
    assert len(few) == 3
    assert not few & answered


def test_everything_is_attested_and_nothing_is_left_to_do(made):
    assert verify(Records(made)).faults == []
    assert planned(made, "results/tables/selection.csv") == set()


def test_models_are_found_by_a_handful_of_examples(made):
    examples = [{"prompt": f"{i} + {i}", "completion": f"The sum is {2 * i}."} for i in range(4)]
    (made / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in examples))
    command = [sys.executable, "scripts/find_models.py", "sums.jsonl", "--pool", "micro"]
    command += ["--recipe", "few", "--configfile", "micro.yaml"]
    done = subprocess.run(
        command, cwd=made, env=environment(), text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(made / "results/retrieval/sums/models.csv")
    assert [r["rank"] for r in found] == ["1", "2", "3", "4"]
    assert {r["model"] for r in found} == {f"micro-{d}-{s}" for d in ("alpha", "beta")
                                           for s in ("first", "second")}  # fmt: skip
    near = [float(r["similarity"]) for r in found]
    assert near == sorted(near, reverse=True)
    assert found[0]["model"] in done.stdout
    assert (made / "results/retrieval/sums/models.svg").stat().st_size > 1000
    assert "# Models for sums" in (made / "results/retrieval/sums/models.md").read_text()
    # The user's file is behind the table, by its digest.
    trace = lineage(made, "trace", "results/retrieval/sums/models.csv", "--json")
    assert "sums.jsonl" in trace.stdout
    # Another example makes it anew.
    with (made / "sums.jsonl").open("a") as handle:
        handle.write(json.dumps({"prompt": "9 + 9", "completion": "The sum is 18."}) + "\n")
    again = subprocess.run(
        [*command, "-n"], cwd=made, env=environment(), text=True, capture_output=True, check=False
    )
    assert "train retrieval-sums" in again.stdout + again.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"size": 6}, "the pool 'ranks' has 5 models, fewer than 6"),
        ({"tasks": ["alpha"]}, "micro-alpha-first of the pool is trained on alpha"),
        ({"tasks": ["evn"]}, "there is no dataset 'evn'; did you mean 'even'?"),
        ({"tasks": ["even", "even-t5"]}, "'even-t5' is a task of"),
        ({"pool": "both"}, "has models of micro and t5; models of one base are composed"),
    ],
)
def test_a_selection_that_cannot_work_is_refused(made, tmp_path, change, sentence):
    config = selections()
    config["pools"]["both"] = {"models": ["micro-*", "t5-*"], "spaces": ["delta_activations"]}
    config["selections"]["small"] |= change
    (made / "wrong.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(made, "-n", "results/tables/selection.csv", config="wrong.yaml", check=False)
    assert done.returncode != 0
    assert sentence in done.stdout


def test_the_summary_and_the_report(made):
    text = check_summary(made, "selection")
    for strategy in STRATEGIES:
        assert f"Models of `small` chosen by `{strategy}` and composed answer" in text
