"""Tests of a comparison, on layers that are written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from atlas.errors import AtlasError
from atlas.figures.comparisons import draw_comparison, draw_rewards, grouped
from atlas.files import read_csv, write_csv
from atlas.geometry.comparisons import (
    LAYER_COLUMNS,
    comparison_layers,
    comparison_quality,
    comparison_tests,
    prompt_means,
)
from atlas.geometry.prompts import COLUMNS as PROMPT_COLUMNS
from atlas.geometry.prompts import MEASURES as PROMPT_MEASURES
from atlas.geometry.stream_files import hook_names, write_streams

SIDES = {"sft": ["sft-a", "sft-b"], "rl": ["rl-a"]}
TASKS, MODELS = ("coding", "math"), ("base", "sft-a", "sft-b", "rl-a")


def layers(path, change=lambda row: row, depth=6):
    """Layers of two SFT models and an RL model, which keeps more of the base."""
    draw = np.random.default_rng(1)
    rows = [
        dict.fromkeys(LAYER_COLUMNS) | {
            "task": task, "model": model, "layer": layer, "hook": hook, "centring": centring,
            "subspace_preservation": {"base": None, "rl-a": 0.9}.get(model, 0.6)
            and {"rl-a": 0.9}.get(model, 0.6) + 0.01 * draw.normal(),
            "effective_rank": 10 + layer + draw.normal(), "path_length": 5 + layer,
        }
        for task in TASKS for model in MODELS for layer in range(depth)
        for hook in ("resid_mid", "resid_post") for centring in ("uncentred", "centred")
    ]  # fmt: skip
    write_csv(path, LAYER_COLUMNS, [change(row) for row in rows])
    return path


def prompts(path, change=lambda row: row):
    """Of each model two prompts of one task and one of the other."""
    values = {
        "base": (None,) * 3,
        "sft-a": (0.5, 0.7, 0.8),
        "sft-b": (0.4, 0.4, 0.6),
        "rl-a": (0.9,) * 3,
    }
    rows = [
        dict.fromkeys(PROMPT_COLUMNS) | {
            "task": task, "model": model, "prompt": prompt, "sample_cka": of[i],
            "menger_curvature": 0.5, "signature_distance": None if model == "base" else 0.1,
        }
        for model, of in values.items()
        for i, (task, prompt) in enumerate((("coding", 0), ("coding", 1), ("math", 0)))
    ]  # fmt: skip
    write_csv(path, PROMPT_COLUMNS, [change(row) for row in rows])
    return path


def compared(tmp_path, change=lambda row: row):
    comparison_tests(
        layers=layers(tmp_path / "layers.csv", change), sft=["sft-a", "sft-b"], rl=["rl-a"],
        prompts=prompts(tmp_path / "prompts.csv"), tests=tmp_path / "tests.csv",
    )  # fmt: skip
    return read_csv(tmp_path / "tests.csv")


def test_means_of_both_sides(tmp_path):
    rows = compared(tmp_path)
    # What was not measured is not compared; a measure that knows no centring stands once.
    assert {(r["measure"], r["centring"]) for r in rows} == {
        ("subspace_preservation", "uncentred"), ("subspace_preservation", "centred"),
        ("effective_rank", "uncentred"), ("effective_rank", "centred"), ("path_length", ""),
        *((measure, "") for measure in PROMPT_MEASURES),
    }  # fmt: skip
    (row,) = [
        r for r in rows
        if (r["task"], r["stream"], r["centring"], r["measure"], r["layer"])
        == ("math", "resid_post", "centred", "effective_rank", "all")
    ]  # fmt: skip
    own = [
        r for r in read_csv(tmp_path / "layers.csv")
        if (r["task"], r["hook"], r["centring"]) == ("math", "resid_post", "centred")
    ]  # fmt: skip
    means = {
        m: np.mean([float(r["effective_rank"]) for r in own if r["model"] == m]) for m in MODELS
    }
    assert float(row["sft_mean"]) == pytest.approx((means["sft-a"] + means["sft-b"]) / 2)
    assert float(row["rl_mean"]) == pytest.approx(means["rl-a"])
    assert (row["pairs"], row["decision"]) == ("6", "")
    # One model of a side has no interval over models.
    assert {(r["model_low"], r["model_high"], r["model_p"]) for r in rows} == {("", "", "")}
    # What is the same on both sides differs by nothing.
    for row in rows:
        if row["measure"] == "path_length":
            assert (row["difference"], row["p_permutation"]) == ("0.0", "1.0")


def test_an_interval_over_models(tmp_path):
    """Welch's, of one mean per model: by hand, from three SFT models and two RL models."""
    values = {"sft-a": 1.0, "sft-b": 2.0, "sft-c": 3.0, "rl-a": 4.0, "rl-b": 6.0}
    # Layers and tasks move all models alike, or cancel: the means of the models stay.
    rows = [
        dict.fromkeys(LAYER_COLUMNS) | {
            "task": task, "model": model, "layer": layer, "hook": "resid_post",
            "centring": "centred", "effective_rank": value + (-1) ** layer * (1 if model == "rl-a" else 0.5)
            + (10 if task == "math" else 0),
        }
        for task in TASKS for model, value in values.items() for layer in range(2)
    ]  # fmt: skip
    write_csv(tmp_path / "layers.csv", LAYER_COLUMNS, rows)
    sides = {"sft": ["sft-a", "sft-b", "sft-c"], "rl": ["rl-a", "rl-b"]}
    alone = [
        dict.fromkeys(PROMPT_COLUMNS, 1) | {"task": task, "model": model}
        for model in values for task in TASKS
    ]  # fmt: skip
    write_csv(tmp_path / "prompts.csv", PROMPT_COLUMNS, alone)
    comparison_tests(layers=tmp_path / "layers.csv", prompts=tmp_path / "prompts.csv", **sides,
                     tests=tmp_path / "tests.csv")  # fmt: skip
    found = [r for r in read_csv(tmp_path / "tests.csv") if r["measure"] == "effective_rank"]
    assert {(r["task"], r["layer"]) for r in found} == {
        ("all", "0"), ("all", "1"), ("all", "all"), ("coding", "all"), ("math", "all"),
    }  # fmt: skip
    # Variances 1 and 2, of the means 1/3 and 1; df by Welch and Satterthwaite, t by hand.
    error, df = (4 / 3) ** 0.5, (4 / 3) ** 2 / ((1 / 3) ** 2 / 2 + 1)
    reach = stats.t.ppf(0.975, df) * error
    for row in found:
        assert float(row["difference"]) == pytest.approx(
            3 if row["layer"] == "all" else 3 + 0.25 * (-1) ** int(row["layer"])
        )
        if row["layer"] != "all":
            assert row["model_low"] == row["model_high"] == row["model_p"] == ""
            continue
        assert float(row["model_low"]) == pytest.approx(3 - reach)
        assert float(row["model_high"]) == pytest.approx(3 + reach)
        assert float(row["model_p"]) == pytest.approx(2 * stats.t.sf(3 / error, df))
        assert (float(row["sft_mean"]), row["pairs"]) == (
            pytest.approx(float(row["rl_mean"]) - 3), {"all": "4"}.get(row["task"], "2"),
        )  # fmt: skip


def test_measures_of_prompts_have_no_layers_to_pair(tmp_path):
    """Means over models of means over tasks of means over prompts: coding .6 and .4, math .8 and .6."""
    found = {r["task"]: r for r in compared(tmp_path) if r["measure"] == "sample_cka"}
    assert list(found) == ["all", "coding", "math"]
    for task, sft in (("all", 0.6), ("coding", 0.5), ("math", 0.7)):
        row = found[task]
        assert float(row["sft_mean"]) == pytest.approx(sft)
        assert float(row["rl_mean"]) == pytest.approx(0.9)
        assert float(row["difference"]) == pytest.approx(0.9 - sft)
        assert (row["layer"], row["stream"], row["centring"]) == ("all", "resid_post", "")
        assert {
            row[k] for k in ("pairs", "low", "high", "p_permutation", "decision", "reason")
        } == {""}

    def lost(row):
        wanted = ("sft-b", "coding", 1)
        return row | (
            {"sample_cka": None} if (row["model"], row["task"], row["prompt"]) == wanted else {}
        )

    comparison_tests(layers=tmp_path / "layers.csv", prompts=prompts(tmp_path / "p.csv", lost),
                     sft=["sft-a", "sft-b"], rl=["rl-a"], tests=tmp_path / "tests.csv")  # fmt: skip
    (row,) = [r for r in read_csv(tmp_path / "tests.csv") if r["measure"] == "sample_cka"]
    assert row["reason"] == "sft-b has no sample_cka of prompt 2 of coding."


@pytest.mark.parametrize("value", [None, float("inf")])
def test_a_measure_without_a_value_has_a_reason(tmp_path, value):
    def change(row):
        wanted = (row["task"], row["model"], row["layer"], row["hook"])
        return row | (
            {"effective_rank": value} if wanted == ("math", "sft-b", 3, "resid_mid") else {}
        )

    rows = compared(tmp_path, change)
    lost = [r for r in rows if r["reason"]]
    assert {(r["task"], r["stream"], r["measure"], r["layer"]) for r in lost} == {
        ("all", "resid_mid", "effective_rank", "all")
    }
    assert lost[0]["reason"] == "sft-b has no finite effective_rank in layer 3 of math."
    assert len([r for r in rows if r["measure"] == "effective_rank"]) == 2 + 2 * (6 + 1 + 2)


def test_prompt_means(tmp_path):
    rows = [
        {"layer": 0, "hook": "resid_mid", "length": 1.0, "turn": None},
        {"layer": 0, "hook": "resid_mid", "length": 3.0, "turn": 0.5},
        {"layer": 1, "hook": "resid_mid", "length": 7.0, "turn": None},
    ]
    write_csv(tmp_path / "a.csv", ("layer", "hook", "length", "turn"), rows)
    assert prompt_means(tmp_path / "a.csv", ("length", "turn"), "m", "t") == {
        ("m", "t", "0", "resid_mid", "length"): 2.0, ("m", "t", "0", "resid_mid", "turn"): 0.5,
        ("m", "t", "1", "resid_mid", "length"): 7.0,
    }  # fmt: skip


def training(folder, rewards):
    file = folder / "training.csv"
    folder.mkdir()
    rows = [{"step": i, "reward": reward} for i, reward in enumerate(rewards, start=1)]
    write_csv(file, ("step", "reward"), rows)
    return file


def test_models_of_a_side_have_a_colour():
    assert grouped(SIDES) == {"SFT (2 models)": ["sft-a", "sft-b"], "rl-a": ["rl-a"]}
    alone = {"sft": ["sft-a", "sft-b"], "rl": []}
    assert grouped(alone) == {"sft-a": ["sft-a"], "sft-b": ["sft-b"]}


def test_figures(tmp_path):
    file = layers(tmp_path / "layers.csv")
    draw = np.random.default_rng(2)
    values = {
        f"{task}/{model}/resid_post.{layer}/centred": np.sort(draw.exponential(size=20))[::-1]
        for task in TASKS for model in MODELS for layer in range(6)
    }  # fmt: skip
    np.savez(tmp_path / "s.npz", **values)

    def drawn(folder):
        folder.mkdir()
        places = {
            kind: [folder / f"{kind}.{suffix}" for suffix in ("svg", "png")]
            for kind in ("preservation", "effective_rank", "singular_values", "reward")
        }
        reward = places.pop("reward")
        draw_comparison(layers=file, spectra=tmp_path / "s.npz", name="both", sides=SIDES, **places)
        draw_rewards(training=curves, name="both", sides=SIDES, reward=reward)
        return [place.read_bytes() for pair in (*places.values(), reward) for place in pair]

    curves = [training(tmp_path / "rl-a", [0.1, 0.3, 0.2])]
    first = drawn(tmp_path / "one")
    assert all(len(data) > 1000 for data in first)
    assert drawn(tmp_path / "two") == first
    curves = [training(tmp_path / "rl-b", [])]
    assert drawn(tmp_path / "three")[:6] == first[:6]
    svg = (tmp_path / "three" / "reward.svg").read_bytes()
    assert svg != first[6]


def streams(path, broken=None, missing=None):
    draw = np.random.default_rng(len(path.name))
    arrays = []
    for hook in hook_names(2):
        array = draw.normal(size=(4, 8)).astype(np.float16)
        if hook == "blocks.1.hook_resid_mid" and broken is not None:
            array[2, 3] = broken
        if hook != missing:
            arrays.append((hook, array))
    path.parent.mkdir(exist_ok=True)
    write_streams(path, list("abcd"), [3] * 4, "last_token", arrays)
    return path


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [({"broken": np.nan}, r"model/a\.h5: blocks\.1\.hook_resid_mid: the check not_finite failed: 1,"),
     ({"broken": np.inf}, r"model/a\.h5: blocks\.1\.hook_resid_mid: the check not_finite failed: 1,"),
     ({"missing": "blocks.0.hook_resid_post"}, r"model/a\.h5: the check hooks failed: 3, and 4 to 4"),
     ({}, "")],
)  # fmt: skip
def test_a_broken_file_stops_what_follows(tmp_path, fault, sentence):
    """Named are file, hook and check; the checks themselves are written down first."""
    files = [streams(tmp_path / "base" / "a.h5"), streams(tmp_path / "model" / "a.h5", **fault)]
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 2}')
    quality = tmp_path / "quality.csv"
    comparison_quality(
        activations=files, config=tmp_path / "config.json", low=0.1, high=100, quality=quality
    )
    assert {row["passed"] for row in read_csv(quality)} == ({"0", "1"} if fault else {"1"})
    common = {"quality": quality, "activations": files, "curvature": [], "trajectories": [], "answers": [],
              "entries": [["base", "t"], ["model", "t"]], "layers": tmp_path / "layers.csv",
              "spectra": tmp_path / "s.npz"}  # fmt: skip
    if not fault:
        comparison_layers(**common)
        assert len(read_csv(tmp_path / "layers.csv")) == 2 * 4 * 2
        return
    with pytest.raises(AtlasError, match=sentence):
        comparison_layers(**common)
    assert not (tmp_path / "layers.csv").exists()


def test_a_file_that_is_cut_off_is_named(tmp_path):
    file = streams(tmp_path / "model" / "a.h5")
    file.write_bytes(file.read_bytes()[:-200])
    (tmp_path / "config.json").write_text('{"text_config": {"num_hidden_layers": 2}}')
    with pytest.raises(AtlasError, match=r"model/a\.h5: not a whole HDF5 file"):
        comparison_quality(activations=[file], config=tmp_path / "config.json", low=0.1, high=100,
                           quality=tmp_path / "quality.csv")  # fmt: skip
