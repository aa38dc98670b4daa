from __future__ import annotations

import json
import os

import pytest

from atlas.job.attempts import history_lines
from atlas.lineage.verify import verify
from unit.lineage.faults import found, the_one


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
