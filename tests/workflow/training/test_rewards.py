"""Training on rewards and on solutions of the same problems, and what the two leave."""

import json

import numpy as np
import pytest

from atlas.files import read_csv, read_jsonl
from atlas.job.records import Records
from atlas.lineage.verify import verify
from micro import micro_config, planned, snakemake, write_config

pytestmark = pytest.mark.workflow
TARGETS = ("results/tables/geometry.csv", "results/comparisons/rewards/figures/reward.svg")
SUMS = {"task": "basic_arithmetic", "rows": 60, "config": {
    "min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1, "operators": ["+"],
    "allow_negation": False, "allow_parentheses": False}}  # fmt: skip


def rewarded(recipe=(), dataset=(), **grpo) -> dict:
    config = micro_config()
    config["datasets"]["sums"] = {
        "domain": "sums", "source": {"reasoning_gym": SUMS}, "unique": "question",
        "columns": {"question": "question", "answer": "answer"},
        "template": {"input": "{{ question }}", "completion": " {{ answer }}"},
        "splits": {"most": 8, "parts": ["first"]}, **dict(dataset),
    }  # fmt: skip
    same = {"learning_rate": 0.01, "batch_size": 8, "accumulation": 1, "epochs": 1,
            "lora": {"r": 2, "alpha": 4}, "parameters": "lora",
            "length": {"max_tokens": 400, "policy": "refuse"}}  # fmt: skip
    config["recipes"] |= {
        "solutions": {"objective": "sft", **same},
        "rewards": {"objective": "grpo", **same, **dict(recipe),
                    "grpo": {"generations": 4, "new_tokens": 3, **grpo}},
    }  # fmt: skip
    config["models"] = {
        name: {"base": "micro", "recipe": recipe, "data": [{"dataset": "sums", "split": "first"}]}
        for name, recipe in (("by-solutions", "solutions"), ("by-rewards", "rewards"))
    }
    config["comparisons"] = {"rewards": {
        "learnt": ["sums"],
        "base": "micro", "models": ["by-solutions", "by-rewards"], "rl": ["by-rewards"],
        "tasks": ["sums"], "prompts": 5, "mean_norm": [0.001, 1000.0],
        "curvature": {"prompts": 2, "directions": 2}, "trajectories": {"prompts": 2},
    }}  # fmt: skip
    config["tables"]["geometry"] = {"kind": "geometry", "comparisons": ["rewards"]}
    return config


@pytest.fixture(scope="module")
def made(configured):
    folder = configured(rewarded())
    snakemake(folder, *TARGETS, "--cores", "2", "--resources", "gpu=1")
    return folder


def test_both_saw_the_same_problems_and_the_grader_the_raw_rows(made):
    raw = read_jsonl(made / "results/sources/datasets/sums.jsonl")
    rows = {name: read_jsonl(made / f"results/models/{name}/rows.jsonl")
            for name in ("by-solutions", "by-rewards")}  # fmt: skip
    assert [r["row"] for r in rows["by-solutions"]] == [r["row"] for r in rows["by-rewards"]]
    assert [r["row"] for r in rows["by-rewards"]] == list(range(8))
    for row in rows["by-rewards"]:
        assert row["entry"] == raw[row["row"]]
        assert raw[row["row"]]["question"] in row["prompt"]
        assert "completion" not in row


def test_the_slope_of_the_table_is_that_of_the_curve(made):
    curve = read_csv(made / "results/models/by-rewards/training.csv")
    assert [row["step"] for row in curve] == ["1", "2", "3", "4"]
    slope = np.polyfit(range(1, 5), [float(row["reward"]) for row in curve], 1)[0]
    for row in read_csv(made / "results/tables/geometry.csv"):
        assert float(row["reward_slope"]) == pytest.approx(slope, abs=1e-9)
        assert (row["sft_stages"], row["rl_stages"]) == (
            "by-solutions: sft", "by-rewards: grpo",
        )  # fmt: skip


def test_it_is_attested_and_made_once(made):
    assert verify(Records(made)).faults == []
    assert planned(made, *TARGETS) == set()
    card = (made / "results/models/by-rewards/README.md").read_text()
    assert "grpo" in card and "generations" in card


def test_another_grader_trains_only_what_is_rewarded(made):
    write_config(made, rewarded(grader="number"))
    jobs = planned(made, "results/models/by-rewards/training.csv",
                   "results/models/by-solutions/training.csv")  # fmt: skip
    write_config(made, rewarded())
    assert jobs == {"train by-rewards on rewards"}


@pytest.mark.parametrize(("recipe", "dataset", "grpo", "sentence"), [
    ({"parameters": "full"}, {}, {}, "trains adapters; choose lora"),
    ({"length": {"policy": "truncate"}}, {}, {}, "choose drop or refuse"),
    ({}, {"source": {"local": "data/alpha.jsonl"}}, {}, "choose the grader number"),
    ({}, {"source": {"reasoning_gym": {**SUMS, "tasks": "x"}}}, {}, "did you mean 'task'"),
])  # fmt: skip
def test_what_cannot_be_rewarded_is_refused_before_anything_runs(
    made, recipe, dataset, grpo, sentence
):
    write_config(made, rewarded(recipe, dataset, **grpo), "wrong.yaml")
    done = snakemake(made, "-n", TARGETS[0], config="wrong.yaml", check=False)
    assert done.returncode != 0
    assert sentence in done.stdout


def test_problems_that_do_not_fill_steps_are_refused_by_the_training(made):
    write_config(made, rewarded(dataset={"splits": {"most": 7, "parts": ["first"]}}), "odd.yaml")
    target = "results/models/by-rewards/training.csv"
    done = snakemake(made, target, "--cores", "1", config="odd.yaml", check=False)
    assert done.returncode != 0
    assert "7 prompts do not fill steps of 2" in done.stdout
    assert json.loads((made / "results/datasets/sums/first.counts.json").read_text())["rows"] == 7
