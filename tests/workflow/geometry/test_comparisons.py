"""A comparison of geometry through the workflow, on random weights."""

import csv

import numpy as np
import pytest
from scipy import stats
from transformers import AutoModelForCausalLM, AutoTokenizer

from atlas.geometry.comparisons import KEPT
from atlas.geometry.prompts import MEASURES as PROMPT_MEASURES
from atlas.geometry.stream_files import StreamFile
from atlas.job.records import Records
from atlas.lineage.verify import verify
from micro import micro_config, planned, snakemake, write_config
from reports import check_summary

pytestmark = pytest.mark.workflow
FOLDER = "results/comparisons/both"
TARGETS = ("results/tables/geometry.csv", "results/tables/weight_space.csv")
SFT, RL = (["micro-alpha-first", "micro-alpha-second"], ["micro-beta-first", "micro-beta-second"])
KINDS = ("preservation", "effective_rank", "spectra", "reward")


def compared(**changes) -> dict:
    config = micro_config()
    config["comparisons"] = {"both": {
        "base": "micro", "models": [*SFT, *RL], "rl": RL, "tasks": ["alpha", "beta"], "prompts": 5,
        "learnt": ["alpha"], "weights": {"dimensions": 4}, "drift": {"rows": 3},
        "shots": 1, "subspace": 3, "streams": ["resid_pre", "resid_mid", "resid_post"],
        "curvature": {"prompts": 2, "directions": 3}, "trajectories": {"prompts": 4},
        "precision": "float32", "mean_norm": [0.001, 1000.0], **changes,
    }}  # fmt: skip
    config["bases"]["micro"]["stages"] = ["pre-training"]
    config["tables"]["geometry"] = {"kind": "geometry", "comparisons": ["both"]}
    config["tables"]["weight_space"] = {"kind": "weight_space", "comparisons": ["both"]}
    config["summary"] = ["geometry", "weight_space"]
    return config


def rows(file) -> list[dict]:
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def made(configured):
    folder = configured(compared())
    snakemake(folder, *TARGETS, "--cores", "2", "--resources", "gpu=1")
    return folder


def test_layers_are_those_of_the_hidden_states(made):
    """Effective rank of the first block's output, from transformers and numpy alone."""
    import json

    folder = made / "results/sources/bases/micro"
    network, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    lines = (made / "results/datasets/alpha/rest.jsonl").read_text().splitlines()
    # The last row is the solved example before each prompt.
    *held_out, last = map(json.loads, lines)
    states = []
    for row in held_out[:5]:
        text = f"{last['prompt']}{last['completion']}\n\n{row['prompt']}"
        ids = tokenizer(text, return_tensors="pt")
        hidden = network(**ids, output_hidden_states=True).hidden_states[1]
        states.append(hidden[0, -1].detach().numpy().astype(np.float64))
    values = np.linalg.svd(np.stack(states), compute_uv=False)
    share = values / values.sum()
    expected = np.exp(-(share * np.log(share)).sum())
    (row,) = [
        r for r in rows(made / f"{FOLDER}/layers.csv")
        if (r["task"], r["model"], r["layer"], r["hook"], r["centring"])
        == ("alpha", "base", "0", "resid_post", "uncentred")
    ]  # fmt: skip
    assert float(row["effective_rank"]) == pytest.approx(expected, rel=1e-4)


def test_every_model_layer_and_task_is_measured(made):
    found = rows(made / f"{FOLDER}/layers.csv")
    assert len(found) == 5 * 2 * 2 * 3 * 2  # models, tasks, layers, streams, centrings
    for row in found:
        if row["model"] != "base":
            if (row["layer"], row["hook"]) == ("0", "resid_pre"):
                # All prompts end with the same token.
                assert row["rank"] == ("0" if row["centring"] == "centred" else "1")
                assert row["levy_area"] == ""
                continue
            assert 0 <= float(row["subspace_preservation"]) <= 1 + 1e-9
            assert row["subspace_dimensions"] == "3"
            assert float(row["procrustes_distance"]) > 1e-6
        assert float(row["local_curvature"]) > 0
        assert float(row["path_length"]) > 0
    for kind in KINDS:
        assert (made / f"{FOLDER}/figures/{kind}.png").stat().st_size > 1000


def test_what_is_measured_by_prompt_joins_the_layers(made):
    wanted = ("micro-beta-first", "beta", "1", "resid_mid")
    layers = [
        r for r in rows(made / f"{FOLDER}/layers.csv")
        if (r["model"], r["task"], r["layer"], r["hook"]) == wanted
    ]  # fmt: skip
    folder = made / f"{FOLDER}/micro-beta-first/beta"
    for file, columns, prompts in (
        ("curvature.csv", ("local_curvature", "sensitivity"), 2),
        ("trajectories.csv", ("path_length", "path_curvature", "levy_area"), 4),
    ):
        own = [r for r in rows(folder / file) if (r["layer"], r["hook"]) == ("1", "resid_mid")]
        assert [r["prompt"] for r in own] == [str(i) for i in range(prompts)]
        for column in columns:
            mean = sum(float(r[column]) for r in own) / prompts
            assert [float(r[column]) for r in layers] == [pytest.approx(mean)] * 2


def test_every_prompt_is_measured(made):
    """As by the activations of the first and the second block, which are two points of a path."""
    found = rows(made / f"{FOLDER}/prompts.csv")
    assert len(found) == 5 * 2 * 5  # models, tasks, prompts
    for row in found:
        assert row["menger_curvature"] == ""  # two layers have no circle
        assert (
            bool(row["sample_cka"]) == bool(row["signature_distance"]) == (row["model"] != "base")
        )
        assert row["model"] == "base" or 0 < float(row["sample_cka"]) < 1
        assert row["model"] == "base" or float(row["signature_distance"]) > 0


def test_the_sides_are_compared_in_every_stream(made):
    tests = rows(made / f"{FOLDER}/tests.csv")
    assert {(r["stream"], r["centring"]) for r in tests} == {
        (stream, centring)
        for stream in ("resid_pre", "resid_mid", "resid_post")
        for centring in ("uncentred", "centred", "")
    }
    # Not compared are the embeddings, which go into layer 0.
    assert {r["layer"] for r in tests if r["stream"] == "resid_pre"} == {"1", "all"}
    assert {(r["task"], r["layer"]) for r in tests} == {
        ("all", "0"), ("all", "1"), ("all", "all"), ("alpha", "all"), ("beta", "all"),
    }  # fmt: skip
    for row in tests:
        kept = row["measure"] in KEPT
        assert bool(row["decision"]) == (kept and row["layer"] == "all")
        assert (row["reason"] != "") == (row["measure"] == "menger_curvature")
        if "alignment" in row["measure"] or row["measure"] == "cka":
            assert (row["measure"] == "cka") == (row["centring"] == "centred")
        varies = (row["sft_mean"], row["difference"]) != (row["rl_mean"], "0.0")
        assert bool(row["model_low"]) == (row["layer"] == "all" and varies and not row["reason"])
    free = {r["measure"] for r in tests if not r["centring"]}
    assert free == {
        "local_curvature", "sensitivity", "path_length", "path_curvature", "levy_area",
        *PROMPT_MEASURES,
    }  # fmt: skip


def test_the_table_of_geometry(made):
    found = rows(made / "results/tables/geometry.csv")
    as_published, decision = [r for r in found if r["measure"] == "decision"]
    assert [as_published["centring"], decision["centring"]] == ["uncentred", "centred"]
    for row in (as_published, decision):
        assert row["decision"] in ("strong", "moderate", "weak", "unexpected")
        (kept,) = [
            r for r in found
            if (r["measure"], r["task"], r["centring"])
            == ("subspace_preservation", "all", row["centring"])
        ]  # fmt: skip
        assert {**row, "measure": ""} == {**kept, "measure": ""}
    layers = [
        r for r in rows(made / f"{FOLDER}/layers.csv")
        if (r["hook"], r["centring"]) == ("resid_post", "centred")
    ]  # fmt: skip
    means = {
        model: np.mean([float(r["subspace_preservation"]) for r in layers if r["model"] == model])
        for model in (*SFT, *RL)
    }
    sft, rl = ([means[model] for model in side] for side in (SFT, RL))
    assert float(kept["sft_mean"]) == pytest.approx(np.mean(sft))
    assert float(kept["rl_mean"]) == pytest.approx(np.mean(rl))
    assert float(kept["model_p"]) == pytest.approx(stats.ttest_ind(rl, sft, equal_var=False).pvalue)
    assert float(kept["model_low"]) < np.mean(rl) - np.mean(sft) < float(kept["model_high"])
    for row in found:
        assert (row["base"], row["base_stages"]) == ("micro", "pre-training")
        assert row["rl_stages"] == "; ".join(f"{model}: pre-training, sft" for model in RL)
        # Its model of rewards is a stand-in without them.
        assert row["reward_slope"] == ""
        assert row["reward_reason"] == "micro-beta-first has no rewards in its training.csv"
    page = (made / "results/tables/geometry.md").read_text()
    assert f"**{as_published['decision']}** as published" in page
    assert f"**{decision['decision']}** of centred ones" in page
    assert (made / "results/figures/geometry.svg").is_file()


def test_the_table_of_weight_space(made):
    found = {r["measure"]: r for r in rows(made / "results/tables/weight_space.csv")}
    whole = {
        r["model"]: r for r in rows(made / f"{FOLDER}/weights.csv") if r["scope"] == "model"
    }  # fmt: skip
    drift = {(r["model"], r["task"]): r for r in rows(made / f"{FOLDER}/drift.csv")}
    assert [drift["micro-beta-first", t]["learnt"] for t in ("alpha", "beta")] == ["1", "0"]
    assert {r["rows"] for r in drift.values()} == {"3"}
    for measure, of in (
        ("changed_share", {m: r["changed_share"] for m, r in whole.items()}),
        ("kl_nats_per_token", {m: drift[m, "alpha"]["kl_nats_per_token"] for m in whole}),
        ("forgetting_nats_per_token",
         {m: drift[m, "beta"]["loss_rise_nats_per_token"] for m in whole}),
    ):  # fmt: skip
        row = found[measure]
        sft, rl = ([float(of[model]) for model in row[side].split(", ")] for side in ("sft", "rl"))
        assert (len(sft), len(rl)) == (int(row["sft_models"]), int(row["rl_models"]))
        assert float(row["sft_mean"]) == pytest.approx(np.mean(sft))
        assert float(row["rl_mean"]) == pytest.approx(np.mean(rl)) != 0
        assert bool(row["low"]) == (len(sft) > 1) == (row["reason"] == "")
    # A model that was trained on one of the tasks is nearer to what is written there than its base.
    assert float(drift["micro-alpha-first", "alpha"]["loss_rise_nats_per_token"]) < 0
    assert "beyond rounding" in check_summary(made, "weight_space")


def test_it_is_attested_and_made_once(made):
    assert verify(Records(made)).faults == []
    assert planned(made, *TARGETS) == set()


def test_the_summary_and_the_report(made):
    text = check_summary(made, "geometry")
    assert "uncentred activations, as published" in text
    assert "of the base's subspaces" in text
    assert "the mean reward" in text or "there is no slope of the rewards" in text


def test_a_failed_check_stops_what_follows_and_names_it(made):
    write_config(made, compared(mean_norm=[0.001, 0.002]))
    done = snakemake(made, *TARGETS, "--cores", "1", check=False)
    assert done.returncode != 0
    assert "the check mean_norm failed" in done.stdout
    assert "blocks.0.hook_resid_pre" in done.stdout
    assert (made / f"{FOLDER}/quality.csv").is_file()


def test_means_over_tokens_without_curvature_and_trajectories(made):
    less = {"curvature": {"prompts": 0}, "trajectories": {"prompts": 0}}
    more = {"learnt": ["beta"], "answers": {"prompts": 4, "new_tokens": 3, "rule": "first_line"}}
    write_config(made, compared(positions="mean", tasks=["beta"], **less, **more))
    jobs = planned(made, *TARGETS)
    assert not {job for job in jobs if "curvature" in job or "trajectories" in job}
    snakemake(made, *TARGETS, "--cores", "1")
    with StreamFile(made / f"{FOLDER}/base/beta/activations.h5") as stored:
        assert stored.positions == "mean"
    found = rows(made / "results/tables/geometry.csv")
    assert {r["task"] for r in found} == {"all"}
    answers = rows(made / f"{FOLDER}/micro-beta-first/beta/answers.csv")
    assert [(r["prompt"], r["correct"]) for r in answers] == [(str(i), "0") for i in range(4)]
    assert answers[0]["truth"].startswith(" It ")
    assert answers[0]["answer"]
    # None is correct, and so there is nothing to tell apart.
    assert {r["answer_auc"] for r in rows(made / f"{FOLDER}/layers.csv")} == {""}
    assert "path_length" not in {r["measure"] for r in found}
    write_config(made, compared())
