from __future__ import annotations

import json
import os

import pytest

from atlas.files import passing
from atlas.job.history import append, compile_history
from atlas.lineage.verify import verify
from unit.job.runs import A
from unit.lineage.faults import found, the_one

HISTORY = "results/provenance/history.jsonl"
ATTEMPTS = "results/provenance/attempts/0123456789ab"


def attempt(run, number="1", **more):
    """An attempt file."""
    value = {"run": "1.2.host.", "rule": "rule", "started": number, "outcome": "finished",
             "host": "host", "process": "1.2", "wildcards": {}, "attempt": 1, **more}  # fmt: skip
    run.put(f"{ATTEMPTS}/rule-00-{number}.json", json.dumps(value))


@pytest.fixture
def told(chain):
    """A chain of jobs with a run, three attempts and their history."""
    chain.put(f"{ATTEMPTS}/run.json", json.dumps({"run": "1.2.host.", "command": ["snakemake"]}))
    for number in "123":
        attempt(chain, number)
    compile_history(chain.root)
    assert found(chain) == set()
    return chain


def lines(run, change):
    """Rewrite the lines of the history."""
    file = run / HISTORY
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))


def sentences(run):
    assert {(f.kind, f.file) for f in verify(run.records).faults} <= {("history", HISTORY)}
    return [fault.sentence for fault in verify(run.records).faults]


def test_the_history_is_what_the_attempts_say(told):
    attempt(told, "4")  # made since, and not yet compiled
    report = verify(told.records)
    assert (report.faults, len(report.notes)) == ([], 2)
    assert "does not tell of 1 runs and attempts" in report.notes[-1]
    attempt(told, "2", user="somebody else")
    assert "line 3 is not what" in the_one(told).sentence


@pytest.mark.parametrize(
    ("change", "line"),
    [(lambda x: [*x[:1], *x[2:]], 2), (lambda x: x[::-1], 1), (lambda x: [*x[:2], *x[1:]], 3),
     (lambda x: [x[0], x[2], x[1], x[3]], 2), (lambda x: x[1:], 1),
     (lambda x: [*x, b"{}\n"], 5), (lambda x: [*x, b"{" * 99_999 + b"\n"], 5),
     (lambda x: [x[0].replace(b"snakemake", b"snakemate"), *x[1:]], 2)],
    ids=["taken out", "reversed", "twice", "moved", "the first", "added", "nested", "altered"],
)  # fmt: skip
def test_a_chain_that_is_broken(told, change, line):
    lines(told, change)
    assert f"line {line} does not follow the one before it" in sentences(told)[0]


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_lines_that_were_cut_off_are_told_as_lacking(told, kept):
    """It looks as if the run had been killed; a signature knows better."""
    lines(told, lambda x: x[:kept])
    report = verify(told.records)
    assert report.faults == []
    assert f"does not tell of {4 - kept} runs and attempts" in report.notes[-1]


@pytest.mark.parametrize("name", ["rule-00-2.json", "run.json"])
def test_an_attempt_or_a_run_that_was_deleted(told, name):
    (told / ATTEMPTS / name).unlink()
    assert any(f"tells of {ATTEMPTS}/{name}, which is gone" in text for text in sentences(told))


def test_what_earlier_versions_took_in_of_a_file_without_its_name_yet(told):
    file = passing(told / ATTEMPTS / "rule-00-4.json").relative_to(told.root)
    append(told.root, {"file": file.as_posix(), "outcome": "finished"})
    assert sentences(told) == []
    append(told.root, {"file": f"{ATTEMPTS}/rule-00-4.json", "outcome": "finished"})
    assert "line 6 tells of" in the_one(told).sentence


def test_the_command_of_a_run_that_was_altered(told):
    told.put(f"{ATTEMPTS}/run.json", json.dumps({"run": "1.2.host.", "command": ["other"]}))
    assert "line 1 is not what" in sentences(told)[0]


def test_an_attempt_that_a_statement_names(chain):
    chain.job({A: "a"}, attempt="0123456789ab/rule-00-1.json")
    assert (
        "the statement of rule names it" in the_one(chain).sentence
        if (attempt(chain, "2"), 1)
        else ""
    )
    attempt(chain)
    assert found(chain) == set()


def test_a_statement_that_an_attempt_names(chain):
    """Also of one that was replaced since."""
    old = chain.job({A: "old"})
    chain.job({A: "a"}, ["resources/raw.txt"], rule="fetch")
    attempt(chain, statement=old, rule="fetch")
    before = found(chain)
    chain.statement(old).unlink()
    new = {fault.file for fault in verify(chain.records).faults if fault.kind == "statement"}
    assert new == {f"results/provenance/statements/{old[:2]}/{old}.json"}
    assert {f for _, f, *_ in before}.isdisjoint(new)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"outcome"', '"outcomf"'), ('"started"', '"startee"'), ('"host"', '"hosu"'),
     ('"1.2"', '"q.2"'), ('"process"', '"procest"')],
)  # fmt: skip
def test_an_attempt_with_one_other_byte(chain, old, new):
    attempt(chain, host=os.uname().nodename, outcome="running")
    compile_history(chain.root)
    file = chain / ATTEMPTS / "rule-00-1.json"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert the_one(chain).kind == "history"
