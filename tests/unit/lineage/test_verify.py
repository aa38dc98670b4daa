from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from atlas.lineage.verify import verify
from unit.job.runs import RAW, A, B, C, D, E, flip, sha
from unit.lineage.faults import found, the_one


def test_what_was_not_touched_is_whole(chain):
    report = verify(chain.records)
    assert report.faults == []
    assert (report.files, report.statements, report.names) == (3, 3, sorted([A, B, C]))
    assert report.bytes == len("raw" + "a" + "b" + "c")
    assert len(report.notes) == 1  # the code was not compared
    assert "no scripts" in report.notes[0]


def test_only_what_was_asked_and_what_stands_behind_it_is_read(chain):
    flip(chain / C)
    report = verify(chain.records, [B])
    assert (report.faults, report.names, report.statements) == ([], sorted([A, B]), 2)
    assert report.bytes == len("raw" + "a" + "b")
    flip(chain / A)
    assert found(chain, [B]) == {("artefact", A, True, 1)}


def test_an_artefact(chain):
    flip(chain / B, bit=1)  # b"b" ^ 2 is b"`"
    fault = the_one(chain)
    assert (fault.kind, fault.file, fault.job) == ("artefact", B, "split")
    assert (fault.expected, fault.found) == (sha("b"), sha("`"))
    assert (fault.first, fault.behind) == (True, 1)
    assert sha("`")[:12] in fault.sentence


def test_an_altered_artefact_of_the_same_size_and_time(chain):
    """What the file system says of a file counts for nothing."""
    before = (chain / A).stat()
    flip(chain / A)
    os.utime(chain / A, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert found(chain) == {("artefact", A, True, 2)}


def test_the_first_on_a_chain(chain):
    for name in (A, C):
        flip(chain / name)
    assert found(chain) == {("artefact", A, True, 2), ("artefact", C, False, 0)}
    assert [f.file for f in verify(chain.records).faults] == [A, C]  # the first comes first


def test_a_source_that_was_exchanged(chain):
    chain.put(RAW, "new")
    fault = the_one(chain)
    assert (fault.kind, fault.file, fault.job) == ("input", A, "fetch a")
    assert (fault.expected, fault.found) == (sha("raw"), sha("new"))
    assert (fault.first, fault.behind) == (True, 2)
    assert RAW in fault.sentence


def test_an_altered_artefact_of_an_altered_source_is_a_consequence(chain):
    chain.put(RAW, "new")
    flip(chain / A)
    assert found(chain) == {("input", A, True, 2), ("artefact", A, False, 2)}


def test_a_source_that_is_gone(chain):
    (chain / RAW).unlink()
    fault = the_one(chain)
    assert (fault.kind, fault.file, fault.first) == ("missing", RAW, True)
    assert (fault.expected, fault.found) == (sha("raw"), None)
    flip(chain / B)
    assert {(k, f, first) for k, f, first, _ in found(chain)} == {
        ("missing", RAW, True), ("artefact", B, True),
    }  # fmt: skip


def test_a_missing_artefact_names_its_pointer(chain):
    (chain / B).unlink()
    fault = the_one(chain)
    assert (fault.kind, fault.file, fault.job) == ("missing", B, "split")
    assert (fault.expected, fault.found, fault.behind) == (sha("b"), None, 1)
    assert "results/provenance/attestations/datasets/b.txt.json" in fault.sentence
    chain.pointer(B).unlink()
    fault = the_one(chain)
    assert (fault.kind, fault.file, fault.job) == ("missing", B, None)


def test_the_last_of_a_chain_may_be_removed_with_its_pointer(chain):
    (chain / C).unlink()
    chain.pointer(C).unlink()
    assert found(chain) == set()


def test_a_file_without_a_pointer(chain):
    chain.put("results/models/mine.txt", "mine")
    fault = the_one(chain)
    assert (fault.kind, fault.file) == ("unattested", "results/models/mine.txt")
    assert (fault.found, fault.expected, fault.behind) == (sha("mine"), None, 0)


def test_a_lost_pointer_breaks_the_chain_there(chain):
    chain.pointer(B).unlink()
    flip(chain / C)
    assert found(chain) == {("unattested", B, True, 1), ("artefact", C, False, 0)}


def test_an_altered_statement(run):
    digest = run.chain()[B]
    flip(run.statement(digest), 200)
    altered = sha(run.statement(digest).read_bytes())
    by_file = {f.file: f for f in verify(run.records).faults}
    path = f"results/provenance/statements/{digest[:2]}/{digest}.json"
    assert set(by_file) == {B, path}
    assert {f.kind for f in by_file.values()} == {"statement"}
    assert (by_file[path].expected, by_file[path].found) == (digest, altered)
    assert path.rpartition("/")[2] in by_file[B].sentence
    assert set(found(run, [C])) == {("statement", B, True, 1)}


def test_a_statement_that_was_replaced_and_altered(run):
    """Nothing points to it; it is a record all the same."""
    old = run.job({A: "old"})
    run.job({A: "new"})
    flip(run.statement(old), 30)
    fault = the_one(run)
    assert fault.kind == "statement"
    assert Path(fault.file).stem == old


def test_a_pointer_to_another_statement(chain):
    chain.pointer(B).unlink()
    chain.pointer(B).symlink_to(chain.pointer(A).resolve())
    fault = the_one(chain)
    assert (fault.kind, fault.file, fault.behind) == ("statement", B, 1)


def test_a_valid_pair_in_the_place_of_another_is_found_one_link_on(run):
    """File and pointer fit each other; who read the file knows better."""
    old = run.job({B: "old"}, params={"seed": 0})
    run.job({B: "b"}, params={"seed": 1})
    run.job({C: "c"}, [B], rule="train")
    run.job({D: "d"}, [C])
    assert found(run) == set()
    run.put(B, "old")
    run.pointer(B).unlink()
    run.pointer(B).symlink_to(run.statement(old))
    fault = the_one(run)
    assert (fault.kind, fault.file, fault.job) == ("input", C, "train")
    assert (fault.expected, fault.found) == (sha("b"), sha("old"))
    assert (fault.first, fault.behind) == (True, 1)
    assert B in fault.sentence


def diamond(run):
    """raw -> a -> (b, b2), c -> d -> e; the job of b makes two files, and one is read."""
    run.put(RAW, "raw")
    run.job({A: "a"}, [RAW])
    run.job({B: "b", "results/datasets/b2.txt": "b2"}, [A])
    run.job({C: "c"}, [A])
    run.job({D: "d"}, [B, C])
    run.job({E: "e"}, [D])


def test_a_diamond(run):
    diamond(run)
    assert found(run) == set()
    flip(run / B)
    assert found(run) == {("artefact", B, True, 2)}  # d and e
    flip(run / C)
    assert found(run) == {("artefact", B, True, 2), ("artefact", C, True, 2)}
    flip(run / E)
    flip(run / "results/datasets/b2.txt")
    flip(run / A)
    assert {(file, first) for _, file, first, _ in found(run)} == {
        (A, True), (B, False), ("results/datasets/b2.txt", False), (C, False), (E, False),
    }  # fmt: skip
    assert ("artefact", A, True, 5) in found(run)  # b, b2, c, d, e


def test_a_source_of_a_diamond(run):
    diamond(run)
    run.put(RAW, "other")
    flip(run / D)
    assert found(run) == {("input", A, True, 5), ("artefact", D, False, 1)}


@pytest.mark.parametrize("what", ["source", "pointer", "statement"])
def test_all_that_stands_on_a_file_without_a_statement(run, what):
    made = run.chain()
    if what == "source":
        (run / RAW).unlink()
    elif what == "pointer":
        run.pointer(A).unlink()
    else:
        flip(run.statement(made[A]), 99)
    name = RAW if what == "source" else A
    behind = {f.behind for f in verify(run.records).faults if f.file == name}
    assert behind == ({3} if what == "source" else {2})


def test_nothing_stands_on_an_output_that_nobody_reads(run):
    diamond(run)
    flip(run / "results/datasets/b2.txt")
    assert found(run) == {("artefact", "results/datasets/b2.txt", True, 0)}


def test_a_forged_circle_ends(run):
    run.put(B, "b")
    run.job({A: "a"}, [B])
    run.job({B: "b"}, [A])
    assert found(run) == set()
    flip(run / A)
    assert {(kind, file) for kind, file, *_ in found(run)} == {("artefact", A)}


@pytest.mark.parametrize("field", ["wildcards", "function", "modules"])
def test_a_forged_statement_without_a_field(run, field):
    """Under its own digest, and pointed to."""
    run.put("scripts/atlas/x.py", "")
    value = json.loads(run.statement(run.job({A: "a"})).read_bytes())
    definition = value["predicate"]["buildDefinition"]
    for holder in (definition["externalParameters"], definition["internalParameters"]["code"]):
        holder.pop(field, None)
    data = json.dumps(value)
    run.put(f"results/provenance/statements/{sha(data)[:2]}/{sha(data)}.json", data)
    run.pointer(A).unlink()
    run.pointer(A).symlink_to(run.statement(sha(data)))
    flip(run / A)
    assert the_one(run).kind in ("statement", "artefact")


def test_a_pointer_to_itself(chain):
    chain.pointer(C).unlink()
    chain.pointer(C).symlink_to(chain.pointer(C).name)
    assert the_one(chain).kind == "statement"


def test_what_is_not_there_at_all(chain):
    fault = the_one(chain, ["results/models/no-such.txt"])
    assert (fault.kind, fault.file) == ("missing", "results/models/no-such.txt")


def test_what_the_configuration_does_not_keep_is_absent_by_policy(chain):
    name = "results/models/whole.safetensors"
    chain.job({name: "weights"}, [C], rule="train", temporary={name: 7})
    chain.job({E: "e"}, [name], rule="table")
    assert verify(chain.records).absent == []
    (chain / name).unlink()
    report = verify(chain.records)
    assert (report.faults, report.absent) == ([], [name])
    assert verify(chain.records, [E]).absent == [name]
    # What is there is checked, and only what its statement calls temporary may be absent.
    (chain / name).write_text("Weights")
    assert [f.kind for f in verify(chain.records).faults] == ["artefact"]
    (chain / name).unlink()
    (chain / C).unlink()
    assert [(f.kind, f.file) for f in verify(chain.records).broken] == [("missing", C)]
