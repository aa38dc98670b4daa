"""The table of comparisons, on layers that are written by hand."""

from __future__ import annotations

import pytest

from atlas.experiments.geometry.table import COLUMNS, comparison_rows, geometry_table, rewards
from atlas.files import read_csv
from unit.geometry.test_comparisons import TASKS, compared, training

ENTRY = {
    "name": "both", "base": "tiny", "stages": ["pre-training"],
    "sft": {"sft-a": ["pre-training", "sft"], "sft-b": ["pre-training", "sft"]},
    "rl": {"rl-a": ["pre-training", "grpo"]}, "rewarded": ["rl-a"],
}  # fmt: skip


def tabled(tmp_path, entry, files):
    geometry_table(
        tests=[tmp_path / "tests.csv"], training=files, comparisons=[entry], name="geometry",
        table=tmp_path / "t.csv", page=tmp_path / "t.md",
        figure=[tmp_path / "f.svg", tmp_path / "f.png"],
    )  # fmt: skip
    return read_csv(tmp_path / "t.csv"), (tmp_path / "t.md").read_text()


def test_the_table(tmp_path):
    tests = compared(tmp_path)
    rewards = training(tmp_path / "rl-a", [0.2, 0.3, 0.4, 0.5, 0.61])
    rows, page = tabled(tmp_path, ENTRY, [rewards])
    assert tuple(rows[0]) == COLUMNS
    assert [(r["task"], r["measure"]) for r in rows] == [
        *((task, "subspace_preservation") for task in ("all", *TASKS)),
        *((task, "effective_rank") for task in ("all", *TASKS)),
        *((task, "path_length") for task in ("all", *TASKS)),
        ("all", "decision"),
    ]  # fmt: skip
    (source,) = [
        r for r in tests
        if (r["task"], r["stream"], r["centring"], r["measure"], r["layer"])
        == ("all", "resid_post", "centred", "subspace_preservation", "all")
    ]  # fmt: skip
    for row in (rows[0], rows[-1]):
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
    assert "over all tasks: **strong**" in page
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
    assert rows[-1]["decision"] == ""
    assert "rl-a has no finite subspace_preservation in layer 0" in rows[-1]["reason"]
    assert "**none (rl-a has no finite" in page


def test_rows_of_other_streams_are_left_out(tmp_path):
    rows = comparison_rows(compared(tmp_path))
    assert {(r["stream"], r["centring"]) for r in rows} == {
        ("resid_post", "centred"), ("resid_post", ""),
    }  # fmt: skip
