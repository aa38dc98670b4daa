"""The table of weight space, on measurements that are written by hand."""

from __future__ import annotations

import pytest
from scipy.stats import ttest_ind

from atlas.experiments.weight_space.findings import findings
from atlas.experiments.weight_space.measures import MEASURES, values
from atlas.experiments.weight_space.table import COLUMNS, weight_space_table
from atlas.files import read_csv, write_csv
from atlas.geometry import drift, weight_changes

SFT, RL = ("s1", "s2", "s3"), ("r1", "r2")
# Model -> share of changed weights, KL on the learnt tasks (two), rise of the loss on two others.
MODELS = {
    "s1": (0.50, (0.2, 0.4), (0.1, 0.3)), "s2": (0.54, (0.3, 0.5), (0.2, 0.2)),
    "s3": (0.52, (0.2, 0.5), (0.0, 0.2)),
    "r1": (0.10, (0.1, 0.2), (0.3, 0.0)), "r2": (0.12, (0.1, 0.3), (0.1, 0.1)),
}  # fmt: skip
OTHERS = {"relative_change": 0.01, "left_angle_mean_degrees": 1.0, "left_angle_max_degrees": 4.0,
          "right_angle_mean_degrees": 1.5, "right_angle_max_degrees": 5.0, "spectral_drift": 0.02,
          "principal_energy": 0.03, "principal_energy_by_chance": 0.01, "principal_weights": 0.05,
          "principal_weights_by_chance": 0.1}  # fmt: skip


def written(folder, models, **changes):
    """weights.csv and drift.csv of models, with rows that are not of whole models among them."""
    rows, moved = [], []
    for name in models:
        share, divergences, rises = MODELS[name]
        whole = {"model": name, "scope": "model", "changed_share": share, **OTHERS, **changes}
        rows += [dict.fromkeys(weight_changes.COLUMNS) | row for row in
                 (whole, whole | {"scope": "module", "changed_share": 0.99})]  # fmt: skip
        for i, value in enumerate(divergences):
            moved.append({"task": f"learnt{i}", "learnt": 1, "kl_nats_per_token": value,
                          "loss_rise_nats_per_token": -9})  # fmt: skip
        for i, value in enumerate(rises):
            moved.append({"task": f"other{i}", "learnt": 0, "kl_nats_per_token": 9,
                          "loss_rise_nats_per_token": value})  # fmt: skip
        moved = [dict.fromkeys(drift.COLUMNS) | {"model": name} | row for row in moved]
    files = [folder / "weights.csv", folder / "drift.csv"]
    write_csv(files[0], weight_changes.COLUMNS, rows)
    write_csv(files[1], drift.COLUMNS, moved)
    return files


def made(folder, sft=SFT, rl=RL, **changes):
    weights, moved = written(folder, (*sft, *rl), **changes)
    entry = {"name": "c", "base": "b", "sft": dict.fromkeys(sft, ()), "rl": dict.fromkeys(rl, ())}
    table, page, figure = (folder / name for name in ("t.csv", "t.md", "t.svg"))
    weight_space_table(
        weights=[weights], drift=[moved], comparisons=[entry], name="t", table=table, page=page,
        figure=[figure, figure.with_suffix(".png")],
    )  # fmt: skip
    return (
        {row["measure"]: row for row in read_csv(table)},
        page.read_text(),
        findings(read_csv(table), {}),
    )


def test_the_sides_are_compared_over_models(tmp_path):
    rows, page, _ = made(tmp_path)
    assert list(rows) == list(MEASURES)
    for measure, sft, rl in (
        ("changed_share", [0.50, 0.54, 0.52], [0.10, 0.12]),
        ("kl_nats_per_token", [0.3, 0.4, 0.35], [0.15, 0.2]),
        ("forgetting_nats_per_token", [0.2, 0.2, 0.1], [0.15, 0.1]),
    ):
        row, test = rows[measure], ttest_ind(rl, sft, equal_var=False)
        assert list(row) == list(COLUMNS)
        assert (row["sft"], row["rl"], row["sft_models"], row["rl_models"]) == (
            "s1, s2, s3", "r1, r2", "3", "2",
        )  # fmt: skip
        expected = (sum(sft) / 3, sum(rl) / 2, *test.confidence_interval(), test.pvalue)
        found = [float(row[key]) for key in ("sft_mean", "rl_mean", "low", "high", "p")]
        assert found == pytest.approx(expected)
        assert row["reason"] == ""
    row = rows["principal_energy_to_chance"]
    assert (float(row["sft_mean"]), row["low"]) == (pytest.approx(3), "")
    assert row["reason"] == "neither side varies over its models"
    assert float(rows["principal_weights_to_chance"]["rl_mean"]) == pytest.approx(0.5)
    assert (
        "| weights changed beyond rounding | share | 0.52 | 0.11 | −0.41 | −0.46 to −0.36 |" in page
    )
    assert (tmp_path / "t.svg").read_bytes().startswith(b"<?xml")


def test_sentences_follow_from_the_intervals(tmp_path):
    _, _, said = made(tmp_path)
    changed, rotation, *_, kl, forgotten = said
    assert changed.startswith(
        "In `c`, models trained with rewards change less of the weights beyond rounding than models "
        "fine-tuned on solutions: RL 0.11 against SFT 0.52, 2 models against 3; difference −0.41, 95 % "
        "interval −0.4"
    )
    assert changed.endswith("which excludes 0.")
    assert "are not told apart by rotation of right" in rotation
    assert "neither side varies" in rotation
    assert "diverge less from the base on what they learnt" in kl
    assert forgotten.startswith("In `c`, the sides are not told apart by forgetting")
    assert forgotten.endswith("which includes 0.")


def test_one_model_of_a_side_tells_nothing_apart(tmp_path):
    rows, page, said = made(tmp_path, rl=RL[:1])
    assert float(rows["changed_share"]["difference"]) == pytest.approx(-0.42)
    for row in rows.values():
        assert (row["low"], row["high"], row["p"]) == ("", "", "")
        assert row["reason"] == "one model of a side has no interval over models"
    assert said and all("the sides are not told apart" in sentence for sentence in said)
    assert "| one model of a side has no interval over models | – |" in page


def test_what_a_model_does_not_have_is_said(tmp_path):
    rows, _, said = made(tmp_path, principal_energy=None)
    row = rows["principal_energy_to_chance"]
    assert (row["sft_mean"], row["difference"]) == ("", "")
    assert row["reason"] == "s1 changed no weight of a matrix"
    assert any("nothing to say of change inside the leading subspaces" in one for one in said)


def test_without_learnt_tasks_there_is_no_divergence_on_them(tmp_path):
    weights, moved = written(tmp_path, ("s1", "r1"))
    rows = [row for row in read_csv(moved) if row["learnt"] == "0"]
    found = values(read_csv(weights), rows)
    assert found["kl_nats_per_token"] == {}
    assert found["forgetting_nats_per_token"] == {"s1": pytest.approx(0.2), "r1": 0.15}
