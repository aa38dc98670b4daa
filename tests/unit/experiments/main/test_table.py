from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.experiments.main.table import MAIN_COLUMNS, _cell, averages, main_table
from atlas.files import read_csv, write_csv

PUBLISHED = {"llama": 0.645, "gemma": 0.545}


def silhouette_file(path, values, models=6, space="delta_activations"):
    columns = (
        "space",
        "dimension",
        "distance",
        "models",
        "domains",
        "silhouette",
        "reason",
        "label",
    )
    write_csv(path, columns, [
        {"space": space, "dimension": 8, "distance": kind, "models": models, "domains": 3,
         "silhouette": value, "reason": "", "label": "domain"}
        for kind, value in zip(("cosine", "cosine_clipped"), values, strict=True)
    ])  # fmt: skip
    return path


def table(tmp_path, values, columns=None):
    """main.csv of pools by name, each with (cosine, clipped) silhouettes."""
    write_csv(tmp_path / "published.csv", ("family", "space", "silhouette"), [
        {"family": f, "space": "delta_activations", "silhouette": s} for f, s in PUBLISHED.items()
    ])  # fmt: skip
    main_table(
        silhouettes=[silhouette_file(tmp_path / f"{p}.csv", v) for p, v in values.items()],
        pools=list(values), bases={p: ["base-" + p] for p in values}, columns=columns or {},
        published=tmp_path / "published.csv", table=tmp_path / "main.csv", page=tmp_path / "main.md",
        figure=[tmp_path / "main.svg"],
    )  # fmt: skip
    found = read_csv(tmp_path / "main.csv")
    return {(r["pool"], r["distance"]): r for r in found}, (tmp_path / "main.md").read_text()


def test_published_figures_stand_beside_the_clipped_rows_only(tmp_path):
    found, page = table(tmp_path, {"p": (0.5, 0.25), "q": (0.7, 0.75)}, {"p": "llama"})
    assert found["p", "cosine_clipped"]["published"] == "0.645"
    assert found["p", "cosine"]["published"] == ""
    assert found["q", "cosine_clipped"]["published"] == ""
    assert found["average", "cosine_clipped"]["published"] == ""
    assert "0.250 (0.645)" in page
    assert "0.500 (" not in page
    assert "arXiv 2509.04442" in page


def test_the_average_over_pools(tmp_path):
    found, page = table(tmp_path, {"p": (0.5, 0.25), "q": (0.7, 0.75)},
                        {"p": "llama", "q": "gemma"})  # fmt: skip
    average = found["average", "cosine_clipped"]
    assert float(average["silhouette"]) == 0.5
    assert float(average["published"]) == pytest.approx(0.595)
    assert float(found["average", "cosine"]["silhouette"]) == pytest.approx(0.6)
    assert average["models"] == "12"
    assert "| Delta activations | 8 | 0.250 (0.645) | 0.750 (0.545) | 0.500 (0.595) |" in page


def test_one_pool_has_no_average_to_look_at(tmp_path):
    found, page = table(tmp_path, {"p": (0.5, 0.25)}, {"p": "llama"})
    assert "| Delta activations | 8 | 0.250 (0.645) |\n" in page
    assert "verage" not in page
    assert float(found["average", "cosine"]["silhouette"]) == 0.5
    drawn = (tmp_path / "main.svg").read_text()
    assert "p, delta activations" in drawn
    assert "published" in drawn


def test_columns_of_a_row(tmp_path):
    found, _ = table(tmp_path, {"p": (0.1234567890123, 0.25)})
    row = found["p", "cosine"]
    assert tuple(row) == MAIN_COLUMNS
    assert row == {"space": "delta_activations", "dimension": "8", "distance": "cosine", "pool": "p",
                   "base": "base-p", "models": "6", "silhouette": "0.1234567890123",
                   "published": ""}  # fmt: skip


def test_an_average_of_something_missing_is_empty(tmp_path):
    found, page = table(tmp_path, {"p": (None, None), "q": (0.7, 0.75)})
    assert found["p", "cosine"]["silhouette"] == ""
    assert found["average", "cosine"]["silhouette"] == ""
    assert "| – | 0.750 | – |" in page


def test_zero_has_no_minus():
    assert _cell({"silhouette": -0.0003, "published": -0.035}) == "0.000 (-0.035)"


def test_a_space_that_a_pool_lacks_has_no_average():
    rows = [{"space": "s", "distance": "cosine", "pool": "p", "models": 4, "silhouette": 0.5,
             "published": None}]  # fmt: skip
    (average,) = averages(rows, ["p", "q"])
    assert average["silhouette"] is None
    with pytest.raises(AtlasError, match="s: a pool has two rows for the distance cosine"):
        averages(rows * 3, ["p", "q"])
