from __future__ import annotations

import ast
import json
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.job.attempts import history_lines
from atlas.lineage.file_digests import FileDigests
from atlas.lineage.verify import verify
from unit.job.runs import RAW, A, B, C, D, E, Run, flip, sha


def found(run, files=None):
    """What a verification finds: (kind, file, first, behind)."""
    report = verify(run.records, files)
    assert report.broken == [f for f in report.faults if f.first]
    return {(f.kind, f.file, f.first, f.behind) for f in report.faults}


def the_one(run, files=None):
    (fault,) = verify(run.records, files).faults
    return fault


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
        ("missing", RAW, True), ("artefact", B, False),
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


CODE = {
    "leaf": "def leaf():\n    return 1\n",
    "work": "from atlas.leaf import leaf\n\n\ndef work():\n    return leaf()\n",
}


def code_digest(text):
    """The digest of a module without docstrings."""
    return sha(ast.dump(ast.parse(text)))[:16]


@pytest.fixture
def coded(run):
    """a by atlas.leaf, b from a by atlas.work, which imports atlas.leaf."""
    for name, text in CODE.items():
        run.put(f"scripts/atlas/{name}.py", text)
    leaf = {"atlas.leaf": code_digest(CODE["leaf"])}
    run.job({A: "a"}, modules=leaf, function="atlas.leaf:leaf", rule="first")
    run.job({B: "b"}, [A], modules={**leaf, "atlas.work": code_digest(CODE["work"])},
            function="atlas.work:work", rule="second")  # fmt: skip
    return run


def test_the_same_code(coded):
    coded.put(
        "scripts/atlas/leaf.py", "# Words.\n" + CODE["leaf"].replace(":\n", ':\n    "Doc."\n')
    )
    report = verify(coded.records)
    assert (report.faults, report.notes) == ([], [])


def test_changed_code_is_found_where_it_is_first_used(coded):
    changed = CODE["leaf"].replace("1", "100")
    coded.put("scripts/atlas/leaf.py", changed)
    assert found(coded) == {("code", A, True, 1), ("code", B, False, 0)}
    fault = verify(coded.records).broken[0]
    assert (fault.expected, fault.found) == (code_digest(CODE["leaf"]), code_digest(changed))
    assert fault.job == "first"
    assert "atlas.leaf" in fault.sentence


def test_a_new_import_is_other_code(coded):
    coded.put("scripts/atlas/extra.py", "X = 1\n")
    coded.put("scripts/atlas/work.py", "import atlas.extra\n" + CODE["work"])
    fault = the_one(coded)
    assert (fault.kind, fault.file) == ("code", B)
    assert (fault.expected, fault.found) == (None, code_digest("X = 1\n"))
    assert "atlas.extra and 1 more" in fault.sentence


def test_code_that_is_gone_or_does_not_parse(coded):
    (coded / "scripts/atlas/work.py").unlink()
    report = verify(coded.records)
    (fault,) = report.faults
    assert (fault.kind, fault.file, fault.found) == ("code", B, None)
    assert any("atlas.work" in note for note in report.notes)
    coded.put("scripts/atlas/work.py", "def work(:\n")
    assert {(f.kind, f.file) for f in verify(coded.records).faults} == {("code", B)}


def test_code_that_is_no_text(coded):
    (coded / "scripts/atlas/work.py").write_bytes(CODE["work"].encode() + b"# \xff\n")
    assert {(f.kind, f.file) for f in verify(coded.records).faults} == {("code", B)}


def attempt(run, name="0123/rule-00-1.json", **more):
    """An attempt file."""
    value = {"run": "1.2.host.", "rule": "rule", "started": "2026-01-01", "outcome": "finished",
             "host": "host", "process": "1.2", "wildcards": {}, "attempt": 1, **more}  # fmt: skip
    run.put(f"results/provenance/attempts/{name}", json.dumps(value))


def history(run):
    run.put("results/provenance/history.jsonl", b"".join(history_lines(run.root)))


def test_the_history_is_what_the_attempts_say(chain):
    for number in "123":
        attempt(chain, f"0123/rule-00-{number}.json", started=number)
    history(chain)
    assert found(chain) == set()
    attempt(chain, "0123/rule-00-4.json", started="4")  # made since, and not yet compiled
    assert found(chain) == set()
    attempt(chain, "0123/rule-00-2.json", started="2", user="somebody else")
    fault = the_one(chain)
    assert (fault.kind, fault.file) == ("history", "results/provenance/history.jsonl")
    assert "line 2 " in fault.sentence


def test_a_changed_line_of_the_history(chain):
    attempt(chain)
    chain.put("results/provenance/attempts/0123/run.json", json.dumps({"command": ["snakemake"]}))
    history(chain)
    assert found(chain) == set()
    file = chain / "results/provenance/history.jsonl"
    text = file.read_text()
    file.write_text(text.replace("finished", "failed"))
    assert {(f.kind, f.sentence.partition(" is")[0]) for f in verify(chain.records).faults} == {
        ("history", "line 1")
    }
    file.write_text(text)
    chain.put("results/provenance/attempts/0123/run.json", json.dumps({"command": ["other"]}))
    assert the_one(chain).kind == "history"


def test_a_line_taken_out_of_the_history(chain):
    """Attempts that ended before the newest line were known when it was compiled."""
    for number in "123":
        attempt(chain, f"0123/rule-00-{number}.json", started=number, ended=number)
    lines = history_lines(chain.root)
    chain.put("results/provenance/history.jsonl", b"".join([lines[0], lines[2]]))
    assert the_one(chain).kind == "history"


@pytest.mark.parametrize(
    ("old", "new"),
    [('"outcome"', '"outcomf"'), ('"started"', '"startee"'), ('"host"', '"hosu"'),
     ('"1.2"', '"q.2"'), ('"process"', '"procest"')],
)  # fmt: skip
def test_an_attempt_with_one_other_byte(chain, old, new):
    attempt(chain, host=os.uname().nodename, outcome="running")
    history(chain)
    file = chain / "results/provenance/attempts/0123/rule-00-1.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert the_one(chain).kind == "history"


def test_hard_links_are_read_once(chain):
    os.link(chain / C, chain / "results/models/copy.txt")
    digests = FileDigests()
    digests.read([chain / C, chain / "results/models/copy.txt", chain / A, chain / "no/such"])
    assert digests.bytes == len("c" + "a")
    assert digests.of(chain / "results/models/copy.txt") == sha("c")
    assert digests.of(chain / B) == sha("b")
    assert digests.of(chain / "no/such") is None
    assert digests.of(chain / "results") is None
    assert digests.bytes == len("c" + "a" + "b")


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


@st.composite
def dags(draw):
    """Jobs in an order in which they can run: (number of outputs, names that they read)."""
    jobs, known = [], ["resources/0", "resources/1"]
    for job in range(draw(st.integers(1, 6))):
        names = [f"results/stage/{job}.{n}" for n in range(draw(st.integers(1, 2)))]
        read = draw(st.lists(st.sampled_from(known), max_size=3, unique=True))
        jobs.append((names, read))
        known += names
    return jobs


def make(folder, jobs):
    run = Run(Path(folder) / "run")
    for source in ("resources/0", "resources/1"):
        run.put(source, source)
    for names, read in jobs:
        run.job({name: f"{name} of {read}" for name in names}, read)
    return run


def standing_on(name, jobs):
    """Artefacts that are made from a file, directly or not."""
    tainted = {name}
    for names, read in jobs:
        if tainted & set(read):
            tainted |= set(names)
    return tainted - {name}


@settings(max_examples=25)
@given(dags(), st.integers(0, 2**32))
def test_one_byte_of_one_artefact(jobs, seed):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        run = make(folder, jobs)
        assert verify(run.records).faults == []
        names = chance.choice(jobs)[0]
        name = chance.choice(names)
        file = run / name
        flip(file, chance.randrange(file.stat().st_size), chance.randrange(8))
        fault = the_one(run)
        assert (fault.kind, fault.file, fault.first) == ("artefact", name, True)
        assert fault.found == sha(file.read_bytes())
        if len(names) == 1:
            assert fault.behind == len(standing_on(name, jobs))


@settings(max_examples=25)
@given(dags(), st.integers(0, 2**32))
def test_one_byte_of_each_of_two_artefacts(jobs, seed):
    """The one that stands on the other is its consequence."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        run = make(folder, jobs)
        every = [name for names, _ in jobs for name in names]
        chosen = chance.sample(every, min(2, len(every)))
        for name in chosen:
            flip(run / name, chance.randrange((run / name).stat().st_size))
        first = {n for n in chosen if not any(n in standing_on(m, jobs) for m in chosen)}
        assert {(f.file, f.first) for f in verify(run.records).faults} == {
            (n, n in first) for n in chosen
        }


@settings(max_examples=25)
@given(dags(), st.integers(0, 2**32))
def test_one_byte_of_one_statement(jobs, seed):
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        run = make(folder, jobs)
        names, _ = chance.choice(jobs)
        file = run.pointer(names[0]).resolve()
        flip(file, chance.randrange(file.stat().st_size), chance.randrange(8))
        faults = verify(run.records).faults
        assert {(f.kind, f.file) for f in faults} == {
            ("statement", name)
            for name in [*names, file.relative_to(run.root.resolve()).as_posix()]
        }


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
