"""Rows that somebody made to do harm: tables, lines, data sets as `datasets` saves them, articles."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import time

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from atlas.errors import AtlasError
from atlas.files import read_jsonl, write_jsonl
from atlas.sources.pubmed import pubmed_rows
from atlas.sources.raw_rows import fetch_rows
from atlas.sources.tables import saved_rows, table_rows
from unit.sources.hostile import DEEP, MIB, sdist, wheel


def tables(table, rows=1, name="r.parquet", pack=bytes, **options):
    """A table of Parquet, or more of it, packed."""

    def data():
        with parquet.ParquetWriter(file := io.BytesIO(), table.schema, **options) as writer:
            for _ in range(rows):
                writer.write_table(table)
        return pack(file.getvalue())

    return data


def with_media(kind):
    """A table that names a file of this machine as the place of an image or a sound."""
    cells = pa.array([{"bytes": None, "path": "/etc/passwd"}],
                     pa.struct([("bytes", pa.binary()), ("path", pa.string())]))  # fmt: skip
    said = json.dumps({"info": {"features": {"a": {"_type": kind}}}})
    return tables(pa.table({"a": cells}).replace_schema_metadata({"huggingface": said}))()


def zipped():
    return wheel(("../../escaped.csv", b"a\n1\n"), ("r.csv", b"a\n" + b"1\n" * MIB))


LONG = pa.table({"a": pa.array(["x" * MIB]).dictionary_encode().take(pa.array([0] * 20))})
NESTED = pa.table({"a": pa.array([[{"b": "x"}]] * 20)}).set_column(
    0, "a", pa.ListArray.from_arrays(list(range(21)), pa.StructArray.from_arrays(
        [LONG["a"].combine_chunks()], ["b"])),
)  # fmt: skip
NOTHING = pa.table({"a": pa.nulls(10 * MIB)})
ZEROS = pa.table({"a": ["0" * 40 * MIB]})
PARQUET = {"compression": "zstd", "use_dictionary": True}
ROWS = {
    "one value": ("r.parquet", tables(LONG, **PARQUET), "more than .* MiB come out of it"),
    "one value, nested": (
        "r.parquet",
        tables(NESTED, **PARQUET),
        "more than .* MiB come out of it",
    ),
    "rows of nothing": ("r.parquet", tables(NOTHING, 2), "more than .* MiB come out of it"),
    "long values": (
        "r.parquet",
        tables(ZEROS, compression="zstd", use_dictionary=False),
        "more than .* MiB come",
    ),
    "packed parquet": ("r.parquet", tables(NOTHING, pack=gzip.compress), "is a file of gzip"),
    "packed csv": ("r.csv", lambda: gzip.compress(b"a\n" + bytes(40 * MIB)), "is a file of gzip"),
    "zip of a table": ("r.csv", zipped, "is a file of zip"),
    "tar of a table": (
        "r.tsv",
        lambda: gzip.decompress(sdist(("../escaped", b"a\n1\n"))),
        "file of tar",
    ),
    "xz of a table": ("r.csv", lambda: lzma.compress(b"a\n1\n"), "is a file of xz"),
    "zeros": ("r.jsonl.gz", gzip.compress(bytes(40 * MIB)), "more than .* MiB come out of it"),
    "rows of nothing, in lines": (
        "r.jsonl.gz",
        gzip.compress(b"{}\n" * MIB),
        "more than .* come out",
    ),
    "lists of nothing": (
        "r.json",
        lambda: b"[" + b"[]," * 9 * MIB + b"[]]",
        "more values than anybody",
    ),
    "packed table": ("r.csv.gz", gzip.compress(b"a,b\n1,2\n"), "is a file of gzip"),
    "more cells than names": ("r.csv", b"a,b\n1,2,3\n", "more cells than its first line"),
    "rows without end": (
        "r.jsonl.gz",
        gzip.compress((b'{"a": "' + b"x" * MIB + b'"}\n') * 40),
        "more than .* MiB come out of it",
    ),
    "half a gzip": ("r.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999)[:-20], "truncated"),
    "no gzip": ("r.jsonl.gz", b'{"a": 1}\n', r"not packed as \.gz says"),
    "nested": ("r.jsonl", f'{{"a": {DEEP}}}'.encode(), "line 1: .*nested more than 100 deep"),
    "nested list": ("r.json", DEEP.encode(), "nested more than 100 deep"),
    "nested in a list": ("r.json", f'[{{"a": {DEEP}}}]'.encode(), "nested more than 100 deep"),
    "digits": ("r.jsonl", b'{"a": ' + b"9" * 5_000 + b"}", "a number has 5,000 digits"),
    "infinite": ("r.jsonl", b'{"a": 1e999}', "has no place in 64 bits"),
    "no number": ("r.jsonl", b'{"a": NaN}', "NaN is no number of JSON"),
    "half a character": ("r.jsonl", rb'{"a": "\ud800"}', "half a surrogate pair"),
    "a list": ("r.jsonl", b"[1]", "a row is a JSON object"),
    "bytes": ("r.jsonl", b"\xff\xfe\x00", "cannot be read"),
    "no list of rows": ("r.json", b"[1, 2]", "holds no list of rows"),
    "no parquet": ("r.parquet", b"PAR1" + bytes(50) + b"PAR1", "cannot be read as parquet"),
    "zeros for a table": ("r.csv", bytes(999), "is a file of tar"),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_are_refused_in_a_sentence(inside, small, case):
    name, data, sentence = ROWS[case]
    (inside / name).write_bytes(data() if callable(data) else data)
    start = time.process_time()
    with pytest.raises(AtlasError, match=sentence) as told:
        fetch_rows(
            name="d", source={"local": str(inside / name)}, where={}, between={}, unique=None,
            duplicates="drop", licence="mit", cache=str(inside), rows=inside / "rows",
            record=inside / "record",
        )  # fmt: skip
    assert time.process_time() - start < 20
    assert str(told.value).isprintable() and len(str(told.value)) < 1_000
    assert not (inside / "rows").exists()


def test_a_json_file_of_rows_may_be_a_list_or_lines(tmp_path):
    rows = [{"a": 1, "day": "2021-01-01"}, {"b": [1.5, None]}]
    (tmp_path / "list.json").write_text(json.dumps(rows))
    write_jsonl(tmp_path / "lines.json", rows)
    for name in ("list.json", "lines.json"):
        fetch_rows(
            name="d", source={"local": str(tmp_path / name)}, where={}, between={}, unique=None,
            duplicates="drop", licence="mit", cache=str(tmp_path), rows=tmp_path / "rows",
            record=tmp_path / "record",
        )  # fmt: skip
        assert read_jsonl(tmp_path / "rows") == rows


@pytest.mark.parametrize("kind", ["Image", "Audio", "Video", "Pdf", "Nifti"])
def test_no_image_or_sound_of_a_table_is_opened(tmp_path, kind):
    """A row may name any file or address as its place."""
    (tmp_path / "r.parquet").write_bytes(with_media(kind))
    (row,) = table_rows("d", tmp_path / "r.parquet", ".parquet", tmp_path / "scratch")
    assert row == {"a": {"bytes": None, "path": "/etc/passwd"}}


@pytest.fixture
def saved(tmp_path):
    """A data set that `datasets` saved, with images in lists, and a column of JSON."""
    features = datasets.Features(
        {"a": datasets.List({"b": datasets.Image()}), "j": datasets.Json()}
    )
    rows = {"a": [[{"b": {"path": None, "bytes": b"x"}}]] * 2, "j": [{"n": 1}, ["x"]]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_a_saved_data_set_is_read_as_it_stands(saved):
    rows = list(saved_rows(saved))
    assert [row["j"] for row in rows] == [{"n": 1}, ["x"]]
    assert rows[0]["a"] == [{"b": {"path": None, "bytes": b"x"}}]


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("_data_files", [{"filename": "../other/x.arrow"}], "which is not in it"),
        ("_data_files", [{"filename": "/etc/passwd"}], "which is not in it"),
        ("_data_files", [{"filename": "x" * 9_000}], "no data set"),
        ("_data_files", 7, "no data set"),
        ("_format_type", "x" * 9_000, "no data set"),
    ],
    ids=range(5),
)
def test_a_saved_data_set_that_lies_is_refused(saved, key, value, sentence):
    state = saved / "state.json"
    state.write_text(json.dumps(json.loads(state.read_text()) | {key: value}))
    with pytest.raises(AtlasError, match=f"^saved: .*{sentence}") as told:
        list(saved_rows(saved))
    assert len(str(told.value)) < 1_000


def test_a_saved_data_set_that_swells_is_refused(saved, small):
    (file,) = saved.glob("*.arrow")
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(file, ZEROS.schema, options=options) as writer:
        writer.write_table(ZEROS)
    with pytest.raises(AtlasError, match=r"more than .* MiB come out of it"):
        list(saved_rows(saved))


PUBMED = {
    "elements": (b"<s>" + b"<a/>" * MIB + b"</s>", "more than .* MiB come out of it"),
    "elements of an article": (
        b"<s><PubmedArticle>" + b"<a/>" * MIB + b"</PubmedArticle></s>", "more than .* MiB come out",
    ),
    "nested": (b"<a>" * MIB, "more than .* MiB come out of it"),
    "entities": (
        b'<!DOCTYPE s [<!ENTITY a0 "lol">'
        + b"".join(b'<!ENTITY a%d "%s">' % (i + 1, b"&a%d;" % i * 10) for i in range(12))
        + b"]><s>&a12;</s>",
        "amplification",
    ),
    "file": (b'<!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><s>&a;</s>', "undefined entity"),
    "encoding": (b'<?xml version="1.0" encoding="nosuch"?><s/>', "unknown encoding"),
    "nothing": (b"", "no element found"),
}  # fmt: skip


@pytest.mark.parametrize("case", PUBMED)
def test_articles_that_do_harm_are_refused(tmp_path, small, case):
    data, sentence = PUBMED[case]
    (tmp_path / "p.xml.gz").write_bytes(gzip.compress(data))
    with pytest.raises(AtlasError, match=f"^p.xml.gz: .*{sentence}"):
        list(pubmed_rows(tmp_path / "p.xml.gz"))
