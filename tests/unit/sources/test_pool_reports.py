from __future__ import annotations

import pytest

from atlas.activations.fetched_shards import REPORT_COLUMNS
from atlas.errors import AtlasError
from atlas.files import read_csv, write_csv
from atlas.sources.pool_reports import refuse_unusable, report_pool


def write(tmp_path, excluded=(), models="abc"):
    shards = [tmp_path / "0.csv", tmp_path / "1.csv"]
    row = {"base": "t", "commit": "c", "sha256": "5", "bytes": 7, "reason": ""}
    write_csv(shards[0], REPORT_COLUMNS, [{**row, "model": "b", "reason": "b: has NaN."}])
    write_csv(shards[1], REPORT_COLUMNS, [{**row, "model": name} for name in "ac"])
    listed = [{"name": name, "source": f"org/{name}"} for name in models]
    report_pool(shards=shards, models=listed, excluded=list(excluded),
                report=tmp_path / "report.csv")  # fmt: skip
    return tmp_path / "report.csv"


def test_every_model_is_a_row(tmp_path):
    rows = read_csv(write(tmp_path))
    assert [(r["model"], r["source"], r["reason"], r["excluded"]) for r in rows] == [
        ("a", "org/a", "", "false"), ("b", "org/b", "b: has NaN.", "false"),
        ("c", "org/c", "", "false"),
    ]  # fmt: skip


def test_the_gate_names_the_culprits(tmp_path):
    rows = read_csv(write(tmp_path))
    message = r"1 of 3 models of p cannot be used\. b: has NaN\. .*p\.excluded: \[b\]\.$"
    with pytest.raises(AtlasError, match=message):
        refuse_unusable(rows, "p")
    rows += [{**rows[1], "model": f"b{i}"} for i in range(30)]
    with pytest.raises(
        AtlasError, match=r"^31 of 33 .* b18: .*\. And 11 more\. All are in .*report"
    ):
        refuse_unusable(rows, "p")
    refuse_unusable(read_csv(write(tmp_path, ["b"])), "p")


def test_a_model_in_no_shard(tmp_path):
    with pytest.raises(AtlasError, match="no shard has a row for d"):
        write(tmp_path, models="abcd")
