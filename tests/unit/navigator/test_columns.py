from __future__ import annotations

import pytest

from atlas.files import write_csv, write_json
from atlas.navigator.columns import further_columns, read_logs

LOG = ("step", "loss", "learning_rate", "tokens")


def trained(folder, name, losses, rows):
    """training.csv and rows.counts.json of a model."""
    (folder / name).mkdir()
    lines = [
        dict(zip(LOG, (k + 1, v, 5e-4, 10 * (k + 1)), strict=True)) for k, v in enumerate(losses)
    ]
    write_csv(folder / name / "training.csv", LOG, lines)
    write_json(folder / name / "rows.counts.json", {"rows": rows})
    return folder / name / "training.csv", folder / name / "rows.counts.json"


def model(name, dataset=None, **more):
    data = [{"dataset": dataset, "split": "first"}] if dataset else []
    return {"name": name, "data": data, "more": more}


def test_columns_of_models_that_were_trained_and_fetched(tmp_path):
    logs, counts = zip(trained(tmp_path, "a", [3.0, 2.0, 1.0], 24),
                       trained(tmp_path, "b", [2.0] * 18 + [1.0, 0.5], 48), strict=True)  # fmt: skip
    models = [model("a", "law"), model("b", "mathematics"), model("c")]
    found = {c["key"]: c for c in further_columns(models, read_logs(list(logs)), list(counts))}
    assert found["loss"]["values"] == [1.0, 1.5, None]  # the mean of the last quarter of the steps
    assert found["rows"]["values"] == [24, 48, None]
    assert found["tokens"]["values"] == [30, 200, None]
    assert found["dataset"]["labels"] == ["", "law", "mathematics"]
    assert found["dataset"]["of"] == [1, 2, 0]


def test_a_column_that_tells_nothing_apart_is_left_out():
    models = [model("a", "law", licence="mit"), model("b", "law", licence="mit")]
    assert further_columns(models, {}, []) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2024-05-01", ""], {"date": True, "values": ["2024-05-01", None]}),
        (["1.5", "-2e3"], {"values": [1.5, -2000.0]}),
        (["", "7"], {"values": [None, 7.0]}),
        (["nan", "1"], {"labels": ["1", "nan"], "of": [1, 0]}),
        (["inf", "x"], {"labels": ["inf", "x"], "of": [0, 1]}),
    ],
)
def test_columns_of_a_sheet(values, expected):
    models = [model(str(k), size=value) for k, value in enumerate(values)]
    assert further_columns(models, {}, []) == [{"key": "sheet:size", "title": "size", **expected}]


def test_a_curve_is_thinned_to_its_ends(tmp_path):
    log, _ = trained(tmp_path, "a", [1 / (k + 1) for k in range(1000)], 1)
    curve = read_logs([log])["a"].curve
    assert len(curve["steps"]) == len(curve["loss"]) == 60
    assert (curve["steps"][0], curve["steps"][-1]) == (1, 1000)
    assert (curve["loss"][0], curve["loss"][-1]) == (1.0, 0.001)
    short, _ = trained(tmp_path, "b", [3.0], 1)
    assert read_logs([short])["b"].curve == {"steps": [1], "loss": [3.0]}
