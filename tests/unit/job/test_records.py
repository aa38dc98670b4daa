from __future__ import annotations

import json
import shutil

import pytest

from atlas.errors import AtlasError
from atlas.job.records import BrokenRecordError, Records, open_records
from unit.job.runs import RAW, A, B, C, flip, sha


def test_a_statement_as_it_was_written(run):
    run.put(RAW, "raw")
    digest = run.job(
        {A: "a"}, [RAW], rule="fetch", wildcards={"source": "x", "shard": "2"}, params={"seed": 3},
        modules={"lib": "0123"}, packages={"numpy": "2.0"}, device="cpu", threads=2,
        distributions={"NumPy": "2.0", "rich": "13"}, time=7,
    )  # fmt: skip
    made = run.records.statement(A)
    assert made.digest == digest == sha(run.statement(digest).read_bytes())
    # JSON is stored with sorted keys: a job is called by its wildcards in the order of their names.
    assert (made.rule, made.wildcards, made.job) == (
        "fetch", {"source": "x", "shard": "2"}, "fetch 2 x",
    )  # fmt: skip
    assert made.params == {"seed": 3}
    assert made.outputs == {A: sha("a")}
    assert made.inputs == {RAW: sha("raw")}  # packages are no files
    assert (made.input_names, made.output_names) == ({RAW: "read"}, {A: "made"})
    assert made.packages == {"NumPy": "2.0", "rich": "13"}
    assert made.code["modules"] == {"lib": "0123"}
    assert made.code["distributions"] == {"numpy": "2.0"}
    assert made.execution == {"host": "host", "device": "cpu", "threads": 2}
    assert (made.started, made.finished) == (
        "2026-01-01T00:07:00+00:00", "2026-01-01T00:07:30+00:00",
    )  # fmt: skip
    assert made.run == "1.2.host."


def test_nothing_is_said_of_a_file_without_a_pointer(chain):
    assert chain.records.statement("results/models/other.txt") is None
    assert chain.records.statement(RAW) is None


def test_a_statement_that_was_replaced_is_kept(run):
    first = run.job({A: "a"})
    second = run.job({A: "other"})
    assert run.records.statement(A).digest == second
    assert {s.digest for s in run.records.all_statements()} == {first, second}


def test_an_altered_statement_is_not_read(run):
    digest = run.job({A: "a"})
    file = run.statement(digest)
    flip(file, len(file.read_bytes()) // 2)
    altered = sha(file.read_bytes())
    with pytest.raises(BrokenRecordError, match=f"{digest}.json: the statement was altered") as e:
        run.records.statement(A)
    assert altered[:12] in str(e.value)
    assert list(run.records.all_statements()) == []
    assert list(run.records.broken_statements()) == [
        (f"results/provenance/statements/{digest[:2]}/{digest}.json", altered)
    ]


def test_a_statement_overwritten_by_another_of_the_same_file(run):
    """Valid in itself, and stored: but not the one that is pointed to by name."""
    old, new = run.job({A: "old"}), run.job({A: "new"})
    run.statement(new).write_bytes(run.statement(old).read_bytes())
    with pytest.raises(BrokenRecordError, match=f"{new}.json: the statement was altered"):
        run.records.statement(A)
    assert {s.digest for s in run.records.all_statements()} == {old}


def test_a_statement_under_another_name_is_broken(run):
    digest = run.job({A: "a"})
    file = run.statement(digest)
    file.rename(file.with_name("notes.txt"))
    assert [path.rpartition("/")[2] for path, _ in run.records.broken_statements()] == ["notes.txt"]
    file.with_name("notes.txt").rename(file)
    assert list(run.records.broken_statements()) == []
    elsewhere = file.parent.with_name("zz")
    elsewhere.mkdir()
    file.rename(elsewhere / file.name)
    assert [found for _, found in run.records.broken_statements()] == [digest]


def test_a_pointer_to_the_statement_of_another_file(chain):
    link = chain.pointer(A)
    link.unlink()
    link.symlink_to(chain.pointer(B).resolve())
    with pytest.raises(BrokenRecordError, match=r"sources/a\.txt\.json: is a statement of other"):
        chain.records.statement(A)


def test_a_pointer_to_nothing(run):
    run.statement(run.job({A: "a"})).unlink()
    with pytest.raises(BrokenRecordError, match=r"a\.txt\.json: points to nothing"):
        run.records.statement(A)


def test_a_pointer_that_is_a_copy(run):
    """As where an archive keeps no links: the bytes count, and stand under their digest too."""
    digest = run.job({A: "a"})
    link = run.pointer(A)
    link.unlink()
    shutil.copyfile(run.statement(digest), link)
    assert run.records.statement(A).digest == digest
    flip(link, 40)
    with pytest.raises(BrokenRecordError, match="was altered"):
        run.records.statement(A)


def test_a_pointer_out_of_the_store(run, tmp_path):
    """A forged statement somewhere else, under its own digest or not, is none."""
    value = json.loads(run.statement(run.job({A: "a"})).read_bytes())
    value["subject"][0]["digest"]["sha256"] = sha("forged")
    data = json.dumps(value).encode()
    run.pointer(A).unlink()
    forged = tmp_path / f"{sha(data)}.json"
    forged.write_bytes(data)
    run.pointer(A).symlink_to(forged)
    with pytest.raises(BrokenRecordError):
        run.records.statement(A)


@pytest.mark.parametrize(
    "data", [b"[]", b"{}", b"no json", b"\xff\xfe", b'{"subject": []}', b"null"]
)
def test_what_is_no_attestation_under_its_own_digest(run, data):
    run.job({A: "a"})
    file = run.statement(sha(data))
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    run.pointer(A).unlink()
    run.pointer(A).symlink_to(file)
    with pytest.raises(BrokenRecordError, match="is not an attestation of a job"):
        run.records.statement(A)


def test_artefacts_are_what_jobs_make(chain):
    chain.put("results/models/m.v2/weights.json", "")
    chain.put("results/models/.c.txt.atlas-stage.0123.txt", "half")
    chain.put("results/provenance/history.jsonl", "")
    chain.put("results/models/provenance/kept.txt", "")  # only the one at the top is records
    chain.put("results/crates/main/ro-crate-metadata.json", "{}")
    chain.put("results/crates/main/results/models/c.txt", "c")
    assert chain.records.artefacts() == sorted([
        A, B, C, "results/models/m.v2/weights.json", "results/models/provenance/kept.txt",
        "results/crates/main/ro-crate-metadata.json",
    ])  # fmt: skip


def test_attested_are_the_pointers(chain):
    chain.job({"results/models/m.v2/config.json": "{}"})
    (chain / C).unlink()
    assert chain.records.attested() == sorted([A, B, C, "results/models/m.v2/config.json"])


def test_records_are_opened_at_the_folder_or_its_parent(chain, monkeypatch):
    for place in (chain.root, chain / "results"):
        assert open_records(place).root == chain.root.resolve()
    monkeypatch.chdir(chain.root)
    from pathlib import Path

    for place in (Path(), Path("results")):
        assert open_records(place).statement(A).outputs == {A: sha("a")}
    with pytest.raises(AtlasError, match=r"models: holds no results/provenance"):
        open_records(chain / "results/models")


def test_a_link_in_the_way_to_the_root(chain, tmp_path):
    (tmp_path / "link").symlink_to(chain.root)
    assert Records(tmp_path / "link").statement(C).inputs == {B: sha("b")}
