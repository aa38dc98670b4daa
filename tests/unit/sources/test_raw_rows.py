from __future__ import annotations

import gzip
import json
from datetime import date

import pytest

from atlas.errors import AtlasError
from atlas.files import read_jsonl
from atlas.sources.raw_rows import fetch_rows, lookup

ROWS = [{"id": 1, "doc": {"q": "é\u2028?"}}, {"id": 2, "doc": {"q": "b"}}]


def fetch(tmp_path, file, unique=None, where=None, between=None, duplicates="drop"):
    rows, record = tmp_path / "out.jsonl", tmp_path / "out.json"
    fetch_rows(
        name="d", source={"local": str(file)}, where=where or {}, between=between or {},
        unique=unique, duplicates=duplicates, licence="mit", cache=str(tmp_path / "cache"),
        rows=rows, record=record,
    )  # fmt: skip
    return read_jsonl(rows), json.loads(record.read_text())


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def test_json_lines_plain_and_compressed(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(ROWS))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines(ROWS)))
    assert fetch(tmp_path, tmp_path / "a.jsonl")[0] == ROWS
    assert fetch(tmp_path, tmp_path / "a.jsonl.gz")[0] == ROWS


@pytest.mark.parametrize(
    ("content", "error"),
    [(json.dumps(ROWS), None), (json.dumps(ROWS)[:-4], "truncated"), ("{}", "no list of rows"),
     ("[1]", "no list of rows")],
)  # fmt: skip
def test_a_list_in_a_package(tmp_path, monkeypatch, content, error):
    member = tmp_path / "rows.json"
    member.write_text(content)
    monkeypatch.setattr("atlas.sources.packages.take", lambda *_: member)
    rows = tmp_path / "out.jsonl"

    def fetch_it():
        fetch_rows(name="d", source={"pypi": {"format": "json", "files": []}}, where={}, between={},
                   unique=None, duplicates="drop", licence="mit", cache=str(tmp_path), rows=rows,
                   record=tmp_path / "r")  # fmt: skip

    if error:
        with pytest.raises(AtlasError, match=f"rows.json: .*{error}"):
            fetch_it()
    else:
        fetch_it()
        assert read_jsonl(rows) == ROWS


def test_tables(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = [{"a": "x, y", "n": 1}, {"a": "z", "n": 2}]
    (tmp_path / "t.csv").write_text('a,n\n"x, y",1\nz,2\n')
    (tmp_path / "t.tsv").write_text("a\tn\nx, y\t1\nz\t2\n")
    pq.write_table(pa.Table.from_pylist(expected), tmp_path / "t.parquet")
    for suffix in ("csv", "tsv", "parquet"):
        assert fetch(tmp_path, tmp_path / f"t.{suffix}")[0] == expected


def test_duplicates_are_dropped_and_counted(tmp_path):
    rows = [ROWS[0], {"doc": {"q": "é\u2028?"}, "id": 1}, ROWS[1], {"id": 3, "doc": {"q": "b"}}]
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    found, record = fetch(tmp_path, tmp_path / "a.jsonl")
    assert found == [rows[0], rows[2], rows[3]]
    found, record = fetch(tmp_path, tmp_path / "a.jsonl", unique="doc.q")
    assert found == ROWS
    assert (record["rows_read"], record["rows_duplicate"], record["rows"]) == (4, 2, 2)
    found, record = fetch(tmp_path, tmp_path / "a.jsonl", duplicates="keep")
    assert found == rows
    assert record["rows_duplicate"] == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "d: the source has no rows"),
        ("a.jsonl", lines(ROWS)[:-9], r"a\.jsonl, line 2: .*truncated"),
        ("a.jsonl", b"\xff\xff\n", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(lines(ROWS), mtime=0)[:-9], "truncated"),
        ("a.jsonl.gz", b"plain", "cannot be read"),
        ("a.txt", b"x", r"rows are read from \.parquet.*not from \.txt"),
    ],
)
def test_bad_sources(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AtlasError, match=message):
        fetch(tmp_path, tmp_path / name)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "content"), [("t.csv", b"a,n\n"), ("t.csv", b""), ("t.parquet", b"PAR1 and no more")]
)
def test_tables_without_rows(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AtlasError, match=rf"d.*({name}|no rows)"):
        fetch(tmp_path, tmp_path / name)


@pytest.mark.parametrize("value", [date(2020, 1, 2), b"x", float("nan")])
def test_a_column_that_json_cannot_hold_is_one_sentence(tmp_path, value):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([{"a": "x", "odd": value}]), tmp_path / "t.parquet")
    with pytest.raises(AtlasError, match="odd"):
        fetch(tmp_path, tmp_path / "t.parquet")


def test_a_missing_file(tmp_path):
    with pytest.raises(AtlasError, match=r"datasets\.d: there is no file .*no\.jsonl"):
        fetch(tmp_path, tmp_path / "no.jsonl")


def test_a_missing_unique_column_is_named_with_its_row(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(ROWS))
    with pytest.raises(AtlasError, match=r"raw row 0: there is no column 'doc\.p'.*there is: q"):
        fetch(tmp_path, tmp_path / "a.jsonl", unique="doc.p")


def test_lookup():
    row = {"a": {"b": [1]}, "c": None}
    assert lookup(row, "a.b", "w") == [1]
    assert lookup(row, "c", "w") is None
    with pytest.raises(AtlasError, match=r"w: there is no column 'x'; at 'x' there is: a, c"):
        lookup(row, "x", "w")
    with pytest.raises(AtlasError, match=r"no column 'a\.b\.c'; at 'c' there is: list"):
        lookup(row, "a.b.c", "w")


def test_only_rows_that_match(tmp_path):
    kinds = ["cot", "science.a", "science.b", "cot", "chat"]
    rows = [{"doc": {"kind": kind}, "n": n} for n, kind in enumerate(kinds)]
    (tmp_path / "a.jsonl").write_bytes(lines([*rows, rows[0]]))
    found, record = fetch(
        tmp_path, tmp_path / "a.jsonl", where={"doc.kind": ["science.*", "cot"], "n": ["[0-2]"]}
    )
    assert [row["n"] for row in found] == [0, 1, 2]
    counts = {key: record[key] for key in ("rows_read", "rows_left_out", "rows_duplicate", "rows")}
    assert list(counts.values()) == [6, 2, 1, 3]
    with pytest.raises(AtlasError, match="d: the source has no rows within `where`"):
        fetch(tmp_path, tmp_path / "a.jsonl", where={"n": ["x"]})
    with pytest.raises(AtlasError, match="raw row 0: there is no column 'kind'"):
        fetch(tmp_path, tmp_path / "a.jsonl", where={"kind": ["cot"]})


@pytest.mark.parametrize(
    ("column", "ends", "kept"),
    [("year", ["1977", "1979"], [0, 1]), ("year", ["100", "1978"], [0]), ("day", ["1978", "2021"], [1, 2, 3]),
     ("day", ["1979-06", "2021-05"], [2]), ("day", ["2021-05-31", "2021-06"], [2, 3])],
)  # fmt: skip
def test_a_period(tmp_path, column, ends, kept):
    days = ["1977-01-05", "1979-02-28", "2021-05-31", "2021-06-30", "2022-01-01"]
    rows = [{"n": n, "day": day, "year": int(day[:4])} for n, day in enumerate(days)]
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    found, _ = fetch(tmp_path, tmp_path / "a.jsonl", between={column: ends})
    assert [row["n"] for row in found] == kept
