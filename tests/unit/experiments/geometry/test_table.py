"""The table of comparisons, on layers that are written by hand."""

from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.experiments.geometry.table import COLUMNS, comparison_rows, geometry_table, rewards
from atlas.files import read_csv
from atlas.geometry.prompts import MEASURES as PROMPT_MEASURES
from unit.geometry.test_comparisons import TASKS, compared, training

ENTRY = {
    "name": "both", "base": "tiny", "stages": ["pre-training"],
    "sft": {"sft-a": ["pre-training", "sft"], "sft-b": ["pre-training", "sft"]},
    "rl": {"rl-a": ["pre-training", "grpo"]}, "rewarded": ["rl-a"],
}  # fmt: skip


FIGURES = """table,setting,quantity,published
geometry,olmo,sft_subspace_preservation,0.84
geometry,olmo,rl_subspace_preservation,0.999
geometry,olmo,rl_effective_rank,4.5
other,more,sft_cka,0.1
"""


def tabled(tmp_path, entry, files, **settings):
    (tmp_path / "published.csv").write_text(FIGURES)
    geometry_table(
        tests=[tmp_path / "tests.csv"], training=files, comparisons=[entry], name="geometry",
        published=tmp_path / "published.csv", settings=settings,
        table=tmp_path / "t.csv", page=tmp_path / "t.md",
        figure=[tmp_path / "f.svg", tmp_path / "f.png"],
    )  # fmt: skip
    return read_csv(tmp_path / "t.csv"), (tmp_path / "t.md").read_text()


def test_the_table(tmp_path):
    tests = compared(tmp_path)
    rewards = training(tmp_path / "rl-a", [0.2, 0.3, 0.4, 0.5, 0.61])
    rows, page = tabled(tmp_path, ENTRY, [rewards])
    assert tuple(rows[0]) == COLUMNS
    assert [(r["task"], r["measure"], r["centring"]) for r in rows] == [
        *((task, measure, centring) for centring in ("uncentred", "centred")
          for measure in ("subspace_preservation", "effective_rank") for task in ("all", *TASKS)),
        *((task, measure, "") for measure in ("path_length", *PROMPT_MEASURES)
          for task in ("all", *TASKS)),
        ("all", "decision", "uncentred"), ("all", "decision", "centred"),
    ]  # fmt: skip
    for row in (rows[0], rows[6], *rows[-2:]):
        (source,) = [
            r for r in tests
            if (r["task"], r["stream"], r["centring"], r["measure"], r["layer"])
            == ("all", "resid_post", row["centring"], "subspace_preservation", "all")
        ]  # fmt: skip
        assert {key: row[key] for key in source if key in row and key != "measure"} == {
            key: source[key] for key in source if key in row and key != "measure"
        }
        assert row["decision"] == "strong"
    for row in rows:
        assert (row["sft"], row["rl"]) == ("sft-a, sft-b", "rl-a")
        assert row["rl_stages"] == "rl-a: pre-training, grpo"
        assert float(row["reward_slope"]) == pytest.approx(0.102)
        assert float(row["reward_low"]) < 0.102 < float(row["reward_high"])
        assert (row["reward_steps"], row["reward_reason"]) == ("5", "")
    assert "| rl-a | RL | pre-training, grpo |" in page
    assert (
        "over all tasks: **strong** as published, of uncentred activations; **strong** of" in page
    )
    assert "which excludes 0" in page
    assert all((tmp_path / f"f.{kind}").stat().st_size > 1000 for kind in ("svg", "png"))


def test_why_there_is_no_slope(tmp_path):
    compared(tmp_path)
    rows, page = tabled(tmp_path, ENTRY | {"rewarded": []}, [])
    assert {(r["reward_slope"], r["reward_reason"]) for r in rows} == {
        ("", "its models are not trained with rewards here")
    }
    assert "No reward slope: its models are not trained with rewards here." in page
    curves = {"a": [(1, 0.1), (2, 0.2)], "b": []}
    assert rewards(["b"], curves)["reward_reason"] == "b has no rewards in its training.csv"
    assert rewards(["a"], curves)["reward_reason"] == "2 steps have no slope with an interval"
    flat = training(tmp_path / "rl-a", [0.5, 0.4, 0.5, 0.6, 0.5])
    assert "which includes 0" in tabled(tmp_path, ENTRY, [flat])[1]


def test_a_table_with_a_measure_that_has_no_value(tmp_path):
    def change(row):
        return row | ({"subspace_preservation": None} if row["model"] == "rl-a" else {})

    compared(tmp_path, change)
    rows, page = tabled(tmp_path, ENTRY | {"rewarded": []}, [])
    for row in rows[-2:]:
        assert row["decision"] == ""
        assert "rl-a has no finite subspace_preservation in layer 0" in row["reason"]
    assert "**none (rl-a has no finite" in page


def test_rows_of_other_streams_are_left_out(tmp_path):
    rows = comparison_rows(compared(tmp_path))
    assert {(r["stream"], r["centring"]) for r in rows} == {
        ("resid_post", "uncentred"), ("resid_post", "centred"), ("resid_post", ""),
    }  # fmt: skip


def test_published_figures_stand_beside_what_measures_the_same(tmp_path):
    """Preservation and effective rank were published of uncentred activations, over all tasks."""
    compared(tmp_path)
    rows, page = tabled(tmp_path, ENTRY | {"rewarded": []}, [], both="olmo")
    beside = {
        (r["task"], r["measure"], r["centring"]): (r["sft_published"], r["rl_published"])
        for r in rows
        if r["sft_published"] or r["rl_published"]
    }
    assert beside == {
        ("all", "subspace_preservation", "uncentred"): ("0.84", "0.999"),
        ("all", "effective_rank", "uncentred"): ("", "4.5"),
        ("all", "decision", "uncentred"): ("0.84", "0.999"),
    }
    assert "(0.84)" in page
    assert "(0.999)" in page
    assert "(4.5)" in page
    without, _ = tabled(tmp_path, ENTRY | {"rewarded": []}, [])
    assert not any(r["sft_published"] or r["rl_published"] for r in without)
    with pytest.raises(AtlasError, match="nothing was published of 'qwen'; settings are: olmo"):
        tabled(tmp_path, ENTRY | {"rewarded": []}, [], both="qwen")
