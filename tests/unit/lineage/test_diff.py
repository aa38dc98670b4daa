from __future__ import annotations

import json
import shutil
from dataclasses import asdict

import pytest

from atlas.lineage.causes import Group
from atlas.lineage.diff import Cell, diff
from unit.job.runs import RAW, Run, flip, sha

SOURCE = "results/sources/datasets/d.jsonl"
SPLIT = "results/datasets/d/first.jsonl"
MODEL = "results/models/m/weights.txt"
TABLE = "results/tables/main.csv"
LINES = ['{"text": "one"}', '{"text": "two"}', '{"text": "three"}']


def text(lines):
    return "".join(line + "\n" for line in lines)


def table(lines):
    """One row for each row that was trained on, and one that never changes."""
    return "space,score\n" + text(f"s{n},{len(line)}" for n, line in enumerate(lines)) + "last,0\n"


def pipeline(root, lines=LINES, source=True, seed=1, **execution):
    """resources/raw -> source -> split -> model -> table."""
    run = Run(root)
    run.put(RAW, text(lines))
    run.job({SOURCE: text(lines)}, [RAW], rule="fetch")
    run.job({SPLIT: text(lines[:2])}, [SOURCE], rule="split")
    body = f"{seed} {lines[:2]} {execution}"
    run.job({MODEL: body}, [SPLIT], rule="train", params={"seed": seed}, **execution)
    run.job({TABLE: table(lines[:2])}, [MODEL], rule="table")
    return run


@pytest.fixture
def a(tmp_path):
    return pipeline(tmp_path / "a")


def test_identical_runs(a, tmp_path):
    b = pipeline(tmp_path / "b")
    b.time = 40  # other times, and a crate and an attempt that the other has not
    b.job({TABLE: table(LINES[:2])}, [MODEL], rule="table")
    b.put("results/crates/main/ro-crate-metadata.json", "{}")
    b.put("results/provenance/attempts/0/x.json", "{}")
    found = diff(a.records, b.records)
    assert found.identical
    assert (found.same, found.differing, found.causes, found.cells) == (4, [], [], [])


def test_one_changed_row_of_the_source(a, tmp_path):
    lines = [LINES[0], '{"text": "twenty"}', LINES[2]]
    b = pipeline(tmp_path / "b", lines)
    found = diff(a.records, b.records)
    assert not found.identical
    assert found.differing == sorted([SOURCE, SPLIT, MODEL, TABLE])
    assert found.causes == [
        Group("input", RAW, sha(text(LINES)), sha(text(lines)), ["fetch"], found.differing)
    ]
    assert found.cells == [Cell(TABLE, 2, "score", "15", "18")]
    assert found.rows == [Cell(SOURCE, 2, None, LINES[1], lines[1])]


def test_a_row_that_nobody_uses_reaches_no_further(a, tmp_path):
    b = pipeline(tmp_path / "b", [*LINES[:2], '{"text": "drei"}', '{"text": "four"}'])
    found = diff(a.records, b.records)
    assert found.differing == [SOURCE]
    assert found.same == 3
    assert found.rows == [
        Cell(SOURCE, 3, None, LINES[2], '{"text": "drei"}'),
        Cell(SOURCE, 4, None, "", '{"text": "four"}'),
        Cell(SOURCE, 5, None, None, ""),
    ]
    assert found.cells == []


def test_a_parameter_is_the_cause_of_what_follows_from_it(a, tmp_path):
    b = pipeline(tmp_path / "b", seed=2)
    found = diff(a.records, b.records)
    assert found.differing == [MODEL]
    assert found.causes == [Group("parameter", "seed", 1, 2, ["train"], [MODEL])]
    assert found.rows == []


def test_the_device_where_nothing_else_differs(a, tmp_path):
    b = pipeline(tmp_path / "b", device="H200")
    assert diff(a.records, b.records).causes == [
        Group("execution", "device", "cpu", "H200", ["train"], [MODEL])
    ]


@pytest.mark.parametrize("side", ["A", "B"])
def test_an_altered_file_is_its_own_cause(a, tmp_path, side):
    b = pipeline(tmp_path / "b")
    run = a if side == "A" else b
    attested = sha((run / MODEL).read_bytes())
    flip(run / MODEL)
    altered = sha((run / MODEL).read_bytes())
    found = diff(a.records, b.records)
    assert found.differing == [MODEL]
    assert found.causes == [
        Group("input", f"{MODEL} (altered in {side})", attested, altered, [MODEL], [MODEL])
    ]


def test_an_input_that_was_made_anew_since_is_the_cause(a, tmp_path):
    """What made the other version is not pointed to any more; its bytes are attested."""
    b = Run(tmp_path / "b")
    shutil.copytree(a.root, b.root, symlinks=True, dirs_exist_ok=True)
    b.time = 20
    split = (b / SPLIT).read_text()
    b.job({SPLIT: "other\n"}, [SOURCE], rule="split")
    b.job({MODEL: "other"}, [SPLIT], rule="train", params={"seed": 1})
    b.job({SPLIT: split}, [SOURCE], rule="split")
    found = diff(a.records, b.records)
    assert found.differing == [MODEL]
    assert found.causes == [Group("input", SPLIT, sha(split), sha("other\n"), ["train"], [MODEL])]


def test_what_only_one_run_has(a, tmp_path):
    b = pipeline(tmp_path / "b")
    (a / TABLE).unlink()
    b.put("results/models/mine.txt", "mine")
    a.job({"results/pools/p.csv": "p"})
    found = diff(a.records, b.records)
    assert (found.only_a, found.only_b) == (
        ["results/pools/p.csv"], ["results/models/mine.txt", TABLE],
    )  # fmt: skip
    assert (found.identical, found.differing, found.same) == (False, [], 3)


def test_cells_of_tables_with_other_rows_and_columns(tmp_path):
    runs = [Run(tmp_path / name) for name in "ab"]
    runs[0].job({TABLE: "x,y\n1,2\n3,4\n"})
    runs[1].job({TABLE: 'x,z\n1,2\n3,"4\n5"\n6,7\n'})
    found = diff(*(run.records for run in runs))
    assert found.cells == [
        Cell(TABLE, 1, "y", "2", None), Cell(TABLE, 1, "z", None, "2"),
        Cell(TABLE, 2, "y", "4", None), Cell(TABLE, 2, "z", None, "4\n5"),
        Cell(TABLE, 3, "x", None, "6"), Cell(TABLE, 3, "z", None, "7"),
    ]  # fmt: skip


def test_a_run_and_its_copy_as_json(a, tmp_path):
    shutil.copytree(a.root, tmp_path / "copy", symlinks=True)
    b = Run(tmp_path / "copy")
    b.time = 30
    b.job({MODEL: "other"}, [SPLIT], rule="train", params={"seed": 1}, packages={"torch": "2"})
    value = asdict(diff(a.records, b.records))
    assert json.loads(json.dumps(value)) == value
    assert value["causes"] == [
        {"kind": "package", "name": "torch", "before": None, "after": "2", "jobs": ["train"],
         "files": [MODEL]}
    ]  # fmt: skip
    assert (value["same"], value["differing"]) == (3, [MODEL])
