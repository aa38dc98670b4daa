"""config/geometry.yaml: the study of geometry at full size, planned without a network."""

import re
import time

import pytest

from atlas.configuration.files import layers, read
from atlas.plan.building import build
from micro import ROOT, checkout, snakemake

pytestmark = pytest.mark.workflow
NOWHERE = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9",
           "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9",
           "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A checkout in which nothing is run."""
    return checkout(tmp_path_factory.mktemp("plain") / "checkout")


def planned_jobs(folder) -> dict[str, int]:
    done = snakemake(
        folder, "results/tables/geometry.csv", "-n", "--cores", "2",
        config="config/geometry.yaml", **NOWHERE,
    )  # fmt: skip
    found = re.search(r"^job +count\n-[- ]+\n(.*?)^total", done.stdout, re.MULTILINE | re.DOTALL)
    assert found, done.stdout[-3000:]
    return {n: int(c) for n, c in (line.split() for line in found[1].splitlines())}


def test_the_study_is_planned_at_full_size(plain):
    start = time.monotonic()
    jobs = planned_jobs(plain)
    assert time.monotonic() - start < 60
    # Six comparisons of a base and two models on four tasks.
    for rule in ("extract_streams", "measure_curvature", "measure_trajectories"):
        assert jobs[rule] == 6 * 3 * 4
    for rule in (
        "comparison_quality",
        "comparison_layers",
        "comparison_prompts",
        "comparison_tests",
        "draw_comparison",
    ):
        assert jobs[rule] == 6
    assert jobs["fetch_base_3"] == 1 and jobs["fetch_base_4"] == 2
    assert sum(count for rule, count in jobs.items() if rule.startswith("fetch_full")) == 10
    assert jobs["fetch_rows"] == jobs["make_split"] == 4
    assert not {rule for rule in jobs if rule.startswith("train")} | {"draw_rewards"} & set(jobs)


def test_a_name_is_one_key():
    """Another repository of a model: all else stays, and the table says what it was trained by."""
    merged, _ = layers([ROOT / "config/config.yaml"], read(ROOT / "config/geometry.yaml"))
    before = build(merged)
    code = "allenai/Olmo-3-7B-RL-Zero-Code"
    merged["models"]["olmo-3-rl-zero"]["source"]["hub"]["repo"] = code
    after = build(merged)
    assert after.models["olmo-3-rl-zero"].source["hub"]["repo"] == code
    for name in ("olmo-3-instruct", "r1-distill-llama-8b"):
        assert after.models[name] == before.models[name]
    assert after.model_stages("olmo-3-rl-zero") == [
        "pre-training", "mid-training", "long context", "rlvr",
    ]  # fmt: skip
    assert after.sides("olmo-3-instruct") == {
        "sft": ["olmo-3-instruct-sft"], "rl": ["olmo-3-instruct"],
    }  # fmt: skip
    assert after.rewarded("olmo-3-instruct") == []


def test_every_model_says_what_it_was_trained_by():
    config = read(ROOT / "config/geometry.yaml")
    for kind in ("bases", "models"):
        assert all(entry["stages"] for entry in config[kind].values())
    for entry in config["comparisons"].values():
        assert entry["prompts"] == 500
        sides = set(entry["models"]) - set(entry["rl"]), set(entry["rl"])
        assert all(sides)
