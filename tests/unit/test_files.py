from __future__ import annotations

import csv
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atlas import files
from atlas.errors import AtlasError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(value=st.dictionaries(st.text(), json_values))
def test_json_round_trip(tmp_path_factory, value):
    file = tmp_path_factory.mktemp("json") / "a.json"
    files.write_json(file, value)
    assert files.read_json(file) == value
    assert file.read_bytes().endswith(b"\n")


def test_json_bytes_do_not_depend_on_the_order_of_keys(tmp_path):
    files.write_json(tmp_path / "a", {"b": 1, "a": "é"})
    files.write_json(tmp_path / "b", {"a": "é", "b": 1})
    assert (tmp_path / "a").read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a", {"x": float("nan")})


def test_broken_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(AtlasError, match=r"a\.json: not a JSON file"):
        files.read_json(tmp_path / "a.json")


@given(rows=st.lists(st.dictionaries(st.text(), json_values), min_size=1, max_size=4))
def test_jsonl_round_trip(tmp_path_factory, rows):
    # U+2028 and its like end a line for splitlines(), and may stand inside a JSON text.
    rows = [*rows, {"text": "a\u2028b\x85c\x0cd"}]
    file = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    files.write_jsonl(file, rows)
    assert files.read_jsonl(file) == rows
    assert file.read_bytes().count(b"\n") == len(rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no rows"),
        (b"\n \n", "has no rows"),
        (b'{"a": 1}\n{"a": ', "line 2: not valid JSON .*truncated"),
        (b"[1]\n", "line 1: a row is a JSON object"),
        (b"\xff\xfe", "not a UTF-8"),
    ],
)
def test_bad_jsonl_is_refused(tmp_path, content, message):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with pytest.raises(AtlasError, match=rf"rows\.jsonl.*{message}"):
        files.read_jsonl(file)


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_csv_keeps_full_precision(tmp_path_factory, number):
    file = tmp_path_factory.mktemp("csv") / "a.csv"
    files.write_csv(file, ["x", "y"], [{"x": number, "y": None}])
    (row,) = files.read_csv(file)
    assert float(row["x"]) == number
    assert row["y"] == ""


def test_csv_as_text(tmp_path):
    files.write_csv(tmp_path / "a", ["b", "a"], [{"a": "x,y", "b": 0.1, "more": 1}])
    assert (tmp_path / "a").read_bytes() == b'b,a\n0.1,"x,y"\n'


@given(cell=st.text(st.sampled_from("'=+-@\t\r\n 1.5ea,\"＝")))
@example("=1+1")
@example("'=1+1")
def test_no_text_is_a_formula_and_all_are_read_as_they_were(tmp_path_factory, cell):
    file = tmp_path_factory.mktemp("csv") / "a.csv"
    files.write_csv(file, ["x", "y"], [{"x": cell, "y": "-" + cell}])
    with file.open(newline="") as handle:
        _, written = csv.reader(handle)
    for found, value in zip(written, (cell, "-" + cell), strict=True):
        if found.lstrip()[:1] in ("=", "+", "-", "@", "＝") or found[:1] in ("\t", "\r"):
            float(found)  # a number is none, and stays one for programs
        assert found in (value, f"'{value}")
    assert files.read_csv(file) == [{"x": cell, "y": "-" + cell}]


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1"])
def test_what_a_model_wrote_is_a_text_in_a_spreadsheet(tmp_path, text):
    files.write_csv(tmp_path / "a", ["x"], [{"x": text}])
    assert (tmp_path / "a").read_bytes().split(b"\n", 1)[1].lstrip(b'"').startswith(b"'")


def test_numbers_stay_numbers(tmp_path):
    cells = ["-0.035", "+1", "-inf", "-1e-05", "nan", "'a", "a=b"]
    files.write_csv(tmp_path / "a", ["x"], [{"x": cell} for cell in [*cells, -1.5]])
    assert (tmp_path / "a").read_text().split() == ["x", *cells, "-1.5"]


def test_link_replaces_and_shares(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    target.write_text("old")
    files.link(source, target)
    assert target.read_text() == "new"
    assert source.stat().st_ino == target.stat().st_ino


def test_link_follows_symlinks(tmp_path):
    (tmp_path / "real").write_text("x")
    (tmp_path / "alias").symlink_to("real")
    files.link(tmp_path / "alias", tmp_path / "target")
    assert not (tmp_path / "target").is_symlink()
    assert (tmp_path / "target").read_text() == "x"


def test_link_copies_across_file_systems(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("x")
    files.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "x"


def test_files_by_the_name_of_their_folder(tmp_path):
    paths = [tmp_path / p for p in ("b/x", "a/y", "b/z")]
    assert files.by_folder(paths) == {"b": [paths[0], paths[2]], "a": [paths[1]]}
