from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.files import write_csv
from atlas.publishing.parquet import write_parquet


def stored(folder, columns, rows):
    write_csv(folder / "t.csv", columns, rows)
    write_parquet(table=folder / "t.csv", parquet=folder / "t.parquet")
    return pq.read_table(folder / "t.parquet")


def test_columns_have_the_types_of_their_cells(tmp_path):
    rows = [
        {
            "model": "007",
            "rank": 1,
            "similarity": 0.1,
            "sure": "true",
            "code": "007",
            "formula": "=1",
        },
        {"model": "8", "rank": 2, "similarity": None, "sure": "false", "code": "8", "formula": "2"},
    ]
    found = stored(tmp_path, list(rows[0]), rows)
    assert [str(field.type) for field in found.schema] == [
        "string", "int64", "double", "bool", "double", "string",
    ]  # fmt: skip
    assert found["formula"].to_pylist() == ["=1", "2"]  # without the apostrophe of the CSV
    assert found["similarity"].to_pylist() == [0.1, None]
    assert found["sure"].to_pylist() == [True, False]


def test_an_empty_table_keeps_its_columns_and_none_is_refused(tmp_path):
    assert stored(tmp_path, ["model", "rank"], []).column_names == ["model", "rank"]
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(AtlasError, match=r"t\.csv: has no columns"):
        write_parquet(table=tmp_path / "t.csv", parquet=tmp_path / "t.parquet")


def test_the_same_bytes_each_time(tmp_path):
    stored(tmp_path, ["a"], [{"a": 1.5}])
    first = (tmp_path / "t.parquet").read_bytes()
    write_parquet(table=tmp_path / "t.csv", parquet=tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").read_bytes() == first


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.one_of(FINITE, st.integers(), st.none()), min_size=1, max_size=8))
def test_numbers_are_kept_to_the_last_bit(tmp_path_factory, values):
    column = stored(tmp_path_factory.mktemp("t"), ["value"], [{"value": v} for v in values])[
        "value"
    ]
    found = column.to_pylist()
    if pa.types.is_string(column.type):
        assert all(v is None for v in values)
        return
    for value, back in zip(values, found, strict=True):
        assert (value is None) == (back is None)
        if value is not None:
            assert back == value or math.isclose(back, value, rel_tol=1e-15)
            assert back == float(value)


@given(st.lists(st.text("ab01_.e-'=", min_size=1), min_size=1, max_size=5))
def test_texts_are_kept_or_are_numbers_that_are_written_the_same(tmp_path_factory, texts):
    found = stored(tmp_path_factory.mktemp("t"), ["name"], [{"name": t} for t in texts])["name"]
    assert found.to_pylist() == texts
