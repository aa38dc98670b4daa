from __future__ import annotations

import pytest

from atlas.activations.activation_files import assemble
from atlas.activations.fetched_shards import REPORT_COLUMNS
from atlas.errors import AtlasError
from atlas.files import read_csv, write_csv
from atlas.sources.pool_reports import report_pool


def write(tmp_path, excluded=(), models="abc"):
    shards = [tmp_path / "0.csv", tmp_path / "1.csv"]
    row = {"base": "t", "commit": "c", "sha256": "5", "bytes": 7, "reason": ""}
    write_csv(shards[0], REPORT_COLUMNS, [{**row, "model": "b", "reason": "b: has NaN."}])
    write_csv(shards[1], REPORT_COLUMNS, [{**row, "model": name} for name in "ac"])
    listed = [{"name": name, "domain": "d", "source": f"org/{name}"} for name in models]
    report_pool(shards=shards, models=listed, excluded=list(excluded),
                report=tmp_path / "report.csv")  # fmt: skip
    return tmp_path / "report.csv"


def gate(tmp_path, report):
    assemble(shards=[], report=[report], models=[], pool="p", activations=tmp_path / "a.h5")


def test_every_adapter_is_a_row(tmp_path):
    rows = read_csv(write(tmp_path))
    assert [(r["model"], r["source"], r["reason"], r["excluded"]) for r in rows] == [
        ("a", "org/a", "", "false"), ("b", "org/b", "b: has NaN.", "false"),
        ("c", "org/c", "", "false"),
    ]  # fmt: skip


def test_the_gate_names_the_culprit(tmp_path):
    with pytest.raises(AtlasError, match=r"1 of 3 adapters of p .*: b: b: has NaN\. .*excluded"):
        gate(tmp_path, write(tmp_path))
    gate(tmp_path, write(tmp_path, ["b"]))


def test_an_adapter_in_no_shard(tmp_path):
    with pytest.raises(AtlasError, match="no shard has a row for d"):
        write(tmp_path, models="abcd")
