from __future__ import annotations

import json
import struct

import pytest

from atlas.errors import AtlasError
from atlas.lineage.trace import (
    describe,
    facts,
    plain,
    safetensors_metadata,
    trace,
    trace_stranger,
    used_rows,
)
from unit.job.runs import RAW, A, B, C, flip, sha

SOURCE = "results/sources/datasets/d.jsonl"
SPLIT = "results/datasets/d/first+plain.jsonl"
ROWS = "results/models/m/rows.jsonl"
WEIGHTS = "results/models/m/adapter_model.safetensors"
BASE = "results/sources/bases/b/base.json"
TABLE = "results/tables/main.csv"
RECIPE = {"objective": "sft", "epochs": 2, "batch_size": None}


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def tensors(**metadata):
    """A safetensors file without tensors."""
    head = json.dumps({"__metadata__": metadata}).encode()
    return struct.pack("<Q", len(head)) + head


RAW_ROWS = [{"q": f"question {n}"} for n in range(6)]
SPLIT_ROWS = [{"row": n, "prompt": f"question {n}?"} for n in (1, 3, 4)]
USED = [{"dataset": "d", "split": "first", "row": n, "input_ids": [n]} for n in (4, 1)]


@pytest.fixture
def trained(run):
    """raw -> source -> split -> rows -> weights (with a base) -> two pools -> the main table."""
    run.put(RAW, jsonl(RAW_ROWS))
    run.put("resources/base.txt", "weights of the base")
    run.job({SOURCE: jsonl(RAW_ROWS)}, [RAW], rule="fetch_dataset")
    origin = {"origin": {"hub": {"repo": "org/base", "revision": "main", "commit": "c0ffee"}},
              "licence": "mit", "weights_sha256": sha("weights of the base")}  # fmt: skip
    run.job({BASE: json.dumps(origin)}, ["resources/base.txt"], rule="fetch_base")
    run.job({SPLIT: jsonl(SPLIT_ROWS)}, [SOURCE], rule="make_split")
    run.job({ROWS: jsonl(USED)}, [SPLIT], rule="prepare_rows", params={"seed": 7})
    weights = tensors(model="m", base="b", base_sha256=sha("weights of the base"),
                      rows_sha256=sha(jsonl(USED)))  # fmt: skip
    run.job({WEIGHTS: weights}, [ROWS, BASE], rule="train", params={"recipe": RECIPE, "seed": 8})
    for pool in ("p", "q"):
        for space in ("s", "t"):
            run.job({f"results/pools/{pool}/{space}/embeddings.npz": pool + space}, [WEIGHTS],
                    rule=f"embed_{space}", wildcards={"pool": pool})  # fmt: skip
        run.job({f"results/pools/{pool}/silhouette.csv": f"space,silhouette\ns,{pool}\n"},
                [f"results/pools/{pool}/{space}/embeddings.npz" for space in ("s", "t")],
                rule="silhouettes", wildcards={"pool": pool})  # fmt: skip
    lines = "pool,space,note\np,s,\nq,t,\naverage,s,over\n"
    run.job({TABLE: lines}, [f"results/pools/{p}/silhouette.csv" for p in "pq"], rule="main_table")
    return run


def jobs(found):
    return {node.label for node in found.graph.nodes.values() if node.statement}


BACK = {"train", "prepare_rows", "make_split", "fetch_dataset", "fetch_base"}


def test_back_to_the_sources(trained):
    found = trace(trained.records, TABLE)
    assert (found.file, found.sha256) == (TABLE, sha((trained / TABLE).read_bytes()))
    assert (found.row, found.raw, found.known_as) == (None, [], None)
    assert jobs(found) == BACK | {"main_table"} | {
        f"{job} {pool}" for job in ("embed_s", "embed_t", "silhouettes") for pool in "pq"
    }
    outside = {n.label: n.outputs for n in found.graph.nodes.values() if n.statement is None}
    assert outside == {
        RAW: {RAW: sha(jsonl(RAW_ROWS))},
        "resources/base.txt": {"resources/base.txt": sha("weights of the base")},
    }


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (1, {"silhouettes p", "embed_s p"}),
        (2, {"silhouettes q", "embed_t q"}),
        (3, {"silhouettes p", "silhouettes q", "embed_s p", "embed_s q"}),
    ],
)
def test_a_row_has_its_own_pool_and_space_behind_it(trained, row, expected):
    found = trace(trained.records, TABLE, row)
    assert jobs(found) == BACK | {"main_table"} | expected
    assert found.row["space"] == ("t" if row == 2 else "s")
    assert found.raw == []


def test_from_a_training_row_to_the_raw_row(trained):
    found = trace(trained.records, ROWS, 1)
    assert found.row == USED[0]
    assert found.raw == [
        {"file": SPLIT, "row": 4, "content": SPLIT_ROWS[2]},
        {"file": SOURCE, "row": 4, "content": RAW_ROWS[4]},
    ]
    assert trace(trained.records, ROWS, 2).raw[-1]["content"] == {"q": "question 1"}


def test_from_a_row_of_a_split_to_the_raw_row(trained):
    found = trace(trained.records, SPLIT, 2)
    assert found.raw == [{"file": SOURCE, "row": 3, "content": RAW_ROWS[3]}]


def test_a_raw_row_is_itself(trained):
    found = trace(trained.records, SOURCE, 6)
    assert (found.row, found.raw) == (RAW_ROWS[5], [])


@pytest.mark.parametrize(
    ("file", "row", "words"),
    [
        (TABLE, 0, "has the rows 1 to 3, not 0"),
        (TABLE, 4, "has the rows 1 to 3, not 4"),
        (ROWS, 3, "has the rows 1 to 2, not 3"),
        (WEIGHTS, 1, "rows are asked of .csv and .jsonl files"),
        ("results/models/m/no-such.txt", None, "has no attestation"),
    ],
)
def test_what_cannot_be_traced(trained, file, row, words):
    with pytest.raises(AtlasError, match=words):
        trace(trained.records, file, row)


def test_an_altered_file_is_not_traced(trained):
    flip(trained / ROWS, 3)
    with pytest.raises(AtlasError, match=r"rows\.jsonl: was altered since prepare_rows made it"):
        trace(trained.records, ROWS)
    (trained / ROWS).unlink()
    assert jobs(trace(trained.records, ROWS)) == {"prepare_rows", "make_split", "fetch_dataset"}
    with pytest.raises(AtlasError, match="is not here"):
        trace(trained.records, ROWS, 1)


def test_a_raw_row_that_is_not_here(trained):
    """As in a crate that gives its sources by address."""
    (trained / SOURCE).unlink()
    found = trace(trained.records, ROWS, 1)
    assert [raw["file"] for raw in found.raw] == [SPLIT]


def test_raw_rows_of_a_packed_row(trained):
    packed = [{"rows": [["d/first", 4], ["d/first", 1]], "input_ids": [1], "completion_start": 0}]
    trained.job({ROWS: jsonl(packed)}, [SPLIT], rule="prepare_rows")
    assert used_rows(trained.records, ROWS) == {"d/first": [4, 1]}
    raw = trace(trained.records, ROWS, 1).raw
    assert [r["row"] for r in raw if r["file"] == SOURCE] == [4, 1]


def test_a_split_is_not_taken_for_one_whose_name_it_begins(trained):
    other = "results/datasets/d/first2+plain.jsonl"
    trained.job({other: jsonl([{"row": 4, "prompt": "another"}])}, [SOURCE])
    trained.job({ROWS: jsonl(USED)}, [other, SPLIT], rule="prepare_rows")
    assert trace(trained.records, ROWS, 1).raw[0] == {
        "file": SPLIT, "row": 4, "content": SPLIT_ROWS[2],
    }  # fmt: skip


def test_used_rows(trained):
    assert used_rows(trained.records, ROWS) == {"d/first": [4, 1]}
    assert used_rows(trained.records, "results/models/other/rows.jsonl") == {}


def test_a_stranger_with_known_bytes(trained, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes((trained / WEIGHTS).read_bytes())
    found = trace_stranger(trained.records, file)
    assert (found.file, found.sha256) == (WEIGHTS, sha(file.read_bytes()))
    assert found.known_as == f"{file} has the bytes of {WEIGHTS}"
    assert jobs(found) == BACK


def test_a_stranger_from_before_a_change(run, tmp_path):
    """Its statement was replaced, and is there."""
    old = run.job({A: "old"}, params={"seed": 0})
    run.job({A: "new"}, params={"seed": 1})
    file = tmp_path / "x"
    file.write_text("old")
    assert trace_stranger(run.records, file).graph.targets == [old]


def test_a_stranger_made_twice_is_of_the_newest(run, tmp_path):
    run.job({A: "same"}, time=5)
    newest = run.job({B: "same"}, time=9)
    run.job({C: "same"}, time=2)
    file = tmp_path / "x"
    file.write_text("same")
    found = trace_stranger(run.records, file)
    assert (found.file, found.graph.targets) == (B, [newest])


def test_a_stranger_that_nothing_knows(trained, tmp_path):
    file = tmp_path / "x.txt"
    file.write_text("unheard of")
    with pytest.raises(AtlasError) as error:
        trace_stranger(trained.records, file)
    digest = sha("unheard of")
    assert str(error.value) == f"{file}: SHA-256 {digest}; nothing in results has its bytes."
    with pytest.raises(AtlasError, match="no results are at hand"):
        trace_stranger(None, file)
    with pytest.raises(AtlasError, match="there is no such file"):
        trace_stranger(trained.records, tmp_path / "no-such")


def test_a_stranger_that_speaks_of_itself(trained, tmp_path):
    file = tmp_path / "model.safetensors"
    base, rows = sha("weights of the base"), sha(jsonl(USED))
    file.write_bytes(tensors(model="copy", base="b", base_sha256=base, rows_sha256=rows))
    with pytest.raises(AtlasError) as error:
        trace_stranger(trained.records, file)
    assert str(error.value).endswith(
        f"It says of itself: the model copy, made from the base b (weights SHA-256 {base}); "
        f"trained on rows with the SHA-256 {rows}; that base is here as b; "
        f"those rows are here as {ROWS}."
    )
    assert describe(file, None).endswith(f"trained on rows with the SHA-256 {rows}.")
    file.write_bytes(tensors(model="x", base_sha256=sha("other"), rows_sha256=sha("other")))
    assert "here as" not in describe(file, trained.records)


def test_metadata_of_safetensors(tmp_path):
    file = tmp_path / "x.safetensors"
    file.write_bytes(tensors(a="1"))
    assert safetensors_metadata(file) == {"a": "1"}
    for data in (b"", b"short", struct.pack("<Q", 0), struct.pack("<Q", 2**60) + b"{}",
                 struct.pack("<Q", 3) + b"{}}", struct.pack("<Q", 2) + b"\xff\xff",
                 struct.pack("<Q", 2) + b"{}"):  # fmt: skip
        file.write_bytes(data)
        assert safetensors_metadata(file) == {}
        assert describe(file, None) == ""
    (tmp_path / "x.bin").write_bytes(tensors(a="1"))
    assert safetensors_metadata(tmp_path / "x.bin") == {}


@pytest.mark.parametrize("head", [b"[1]", b"null", b'{"__metadata__": null}'])
def test_a_head_of_another_form(tmp_path, head):
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(head)) + head)
    assert safetensors_metadata(tmp_path / "x.safetensors") == {}


def test_facts(trained):
    found = trace(trained.records, WEIGHTS)
    by_job = {n.label: facts(trained.records, n) for n in found.graph.nodes.values()}
    code = ("code", "lib.module:work, 0 modules")
    assert by_job["train"] == [("recipe", "objective sft, epochs 2"), ("seed", "8"), code]
    assert by_job["prepare_rows"] == [("seed", "7"), ("raw rows", "d/first: 4, 1"), code]
    assert by_job["fetch_base"] == [
        ("origin", "org/base at c0ffee"), ("licence", "mit"),
        ("weights", f"SHA-256 {sha('weights of the base')}"), code,
    ]  # fmt: skip
    assert by_job[RAW] == []


def test_origins(run):
    files = [{"name": "x-1.0.tar.gz", "member": "x/d.csv", "sha256": "ab"}]
    for name, origin in (("p", {"pypi": {"files": files}}), ("l", {"local": "/data"})):
        run.job({f"results/sources/datasets/{name}.json": json.dumps({"origin": origin})})
    records = run.records

    def origin(name):
        graph = trace(records, f"results/sources/datasets/{name}.json").graph
        return facts(records, next(iter(graph.nodes.values())))[0]

    assert origin("p") == ("origin", "x-1.0.tar.gz, member x/d.csv, SHA-256 ab")
    assert origin("l") == ("origin", 'local: "/data"')


def test_as_json(trained):
    value = plain(trace(trained.records, ROWS, 1), trained.records)
    assert json.loads(json.dumps(value)) == value
    (target,) = value["targets"]
    node = value["nodes"][target]
    assert (node["label"], node["stage"], node["outputs"]) == (
        "prepare_rows", "models", {ROWS: sha(jsonl(USED))},
    )  # fmt: skip
    assert node["params"] == {"seed": 7}
    assert ["seed", "7"] in node["facts"]
    assert value["raw"][1]["content"] == RAW_ROWS[4]
    split = next(e for e in value["edges"] if e["to"] == target)
    assert split["files"] == [SPLIT]
    assert value["nodes"][split["from"]]["label"] == "make_split"
    assert value["nodes"][RAW]["outputs"] == {RAW: sha(jsonl(RAW_ROWS))}
