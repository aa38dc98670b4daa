"""Raw rows as Croissant, which mlcroissant validates and reads."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from atlas.bills.croissant import describe_dataset
from atlas.files import write_json, write_jsonl
from atlas.job import statements
from atlas.job.records import Records
from atlas.lineage.verify import verify
from unit.bills.models import COMMIT, DATASET, make
from unit.job.runs import sha, statement

ROWS = [
    {"text": "ein Wort", "number": 1, "share": 0.5, "yes": True, "deep": {"inner": {"x": "a"}},
     "list": ["a", "b"], "maybe": None, "turns": [{"role": "user"}], "mixed": 1},
    {"text": "数", "number": 2, "share": 1, "yes": False, "deep": {"inner": {"x": "b"}},
     "list": ["c"], "maybe": "x", "turns": [], "mixed": "one"},
]  # fmt: skip


def described(folder: Path, rows: list[dict], origin: dict, licence: str = "mit") -> dict:
    write_jsonl(folder / "sums.jsonl", rows)
    write_json(folder / "record.json", {"dataset": "sums", "licence": licence, "origin": origin,
                                        "rows": len(rows)})  # fmt: skip
    place = folder / "sums.croissant.json"
    describe_dataset(rows=folder / "sums.jsonl", record=folder / "record.json", croissant=place,
                     language=["de"])  # fmt: skip
    return json.loads(place.read_text())


def test_mlcroissant_validates_and_reads_every_row(tmp_path):
    import mlcroissant

    hub = {"hub": {"repo": "org/sums", "commit": COMMIT}}
    described(tmp_path, ROWS, hub)
    found = mlcroissant.Dataset(jsonld=os.fspath(tmp_path / "sums.croissant.json"))
    assert found.metadata.ctx.issues.errors == set()
    # Who is to be cited, and when it was published, no statement says.
    assert all("recommended" in warning for warning in found.metadata.ctx.issues.warnings)
    read = list(found.records("row"))
    assert [r["row/text"].decode() for r in read] == [row["text"] for row in ROWS]
    assert [(r["row/number"], r["row/share"], r["row/yes"]) for r in read] == [
        (1, 0.5, True), (2, 1.0, False)]  # fmt: skip
    assert [r["row/deep.inner.x"] for r in read] == [b"a", b"b"]
    assert [list(r["row/list"]) for r in read] == [[b"a", b"b"], [b"c"]]


def test_what_a_column_holds_and_what_is_not_described(tmp_path):
    (record,) = described(tmp_path, ROWS, {"local": True})["recordSet"]
    kinds = {f["name"]: (f["dataType"], f.get("repeated", False)) for f in record["field"]}
    assert kinds == {
        "text": ("sc:Text", False), "number": ("sc:Integer", False), "share": ("sc:Float", False),
        "yes": ("sc:Boolean", False), "deep.inner.x": ("sc:Text", False), "list": ("sc:Text", True),
        "maybe": ("sc:Text", False), "mixed": ("sc:Text", False),
    }  # fmt: skip
    assert record["description"] == "A row. Not described: turns."


def test_what_lies_in_a_column_and_is_not_in_every_row_is_left_out(tmp_path):
    rows = [
        {"deep": {"x": 1, "y z": 1}},
        {"deep": {"x": 2, "y z": 1, "w": 3}},
        {"deep": {"x": None}},
    ]
    (record,) = described(tmp_path, rows[:2], {"local": True})["recordSet"]
    assert [f["name"] for f in record["field"]] == ["deep.x"]
    (record,) = described(tmp_path, rows, {"local": True})["recordSet"]
    assert record["field"] == []


@pytest.mark.parametrize(
    ("origin", "sources", "url"),
    [
        ({"hub": {"repo": "org/sums", "commit": COMMIT}}, [f"pkg:huggingface/datasets/org/sums@{COMMIT}"],
         f"https://huggingface.co/datasets/org/sums/tree/{COMMIT}"),
        ({"pypi": {"files": [{"name": "a_b-1.0.tar.gz", "sha256": "f" * 64, "member": "x.jsonl"}]}},
         ["pkg:pypi/a-b@1.0"], None),
        ({"local": True}, [], None),
    ],
)  # fmt: skip
def test_where_it_is_from(tmp_path, origin, sources, url):
    found = described(tmp_path, ROWS, origin)
    assert [entry["@id"] for entry in found.get("prov:wasDerivedFrom", [])] == sources
    assert found.get("url") == url
    assert found["license"] == "https://spdx.org/licenses/MIT"
    assert found["inLanguage"] == ["de"]
    (file,) = found["distribution"]
    assert file["sha256"] == sha((tmp_path / "sums.jsonl").read_bytes())
    assert described(tmp_path, ROWS, origin, "own words")["license"] == "own words"


def test_verify_names_one_that_says_something_else(tmp_path):
    make(tmp_path)
    place = f"{DATASET}.croissant.json"
    files = {"rows": f"{DATASET}.jsonl", "record": f"{DATASET}.json"}
    describe_dataset(
        **{n: tmp_path / f for n, f in files.items()}, croissant=tmp_path / place, language=[]
    )

    def attest() -> None:
        inputs = {f: sha((tmp_path / f).read_bytes()) for f in files.values()}
        made = statement(
            {place: sha((tmp_path / place).read_bytes())}, inputs, "describe_dataset",
            params={"language": []}, function="atlas.bills.croissant:describe_dataset",
        )  # fmt: skip
        made.input_names.update({f: n for n, f in files.items()})
        statements.store(made, [place], tmp_path)

    attest()
    assert verify(Records(tmp_path), [place]).broken == []
    (tmp_path / place).write_text((tmp_path / place).read_text().replace("CC-BY-4.0", "MIT"))
    attest()
    (fault,) = verify(Records(tmp_path), [place]).broken
    assert fault.file == place and "license" in fault.sentence and "MIT" in fault.sentence
