from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.files import passing
from atlas.job import attempts
from atlas.job.attempts import ATTEMPTS, Attempt, open_run, slug
from atlas.job.history import HISTORY, append, compile_history, entry_of, head, lines
from atlas.owners import machine

RUN = f"1.1.{machine()}."  # no process starts at the first tick but that of the kernel
SCRIPTS = Path(attempts.__file__).parents[2]
HISTORY = Path(HISTORY)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def attempt(model="m", run=RUN, started=None):
    made = Attempt(run, "train", {"model": model}, ["results/models/m/x"])
    if started:
        made.content["started"] = started
    return made


def told() -> list[dict]:
    return [json.loads(line) for line in lines()]


def is_a_chain() -> bool:
    links = ["", *(hashlib.sha256(line).hexdigest() for line in lines())]
    return [entry["previous"] for entry in told()] == links[:-1]


def test_a_run_and_its_attempts_in_order():
    open_run(RUN, {"seed": 1}, ["mine.yaml"])
    for started, model in (("3", "a"), ("1", "b"), ("2", "c")):
        attempt(model, started=started).close("finished")
    compile_history()
    run, *others = told()
    assert run["configfiles"] == ["mine.yaml"]
    assert (
        run["run_sha256"]
        == hashlib.sha256((ATTEMPTS / slug(RUN) / "run.json").read_bytes()).hexdigest()
    )
    assert "configuration" not in run
    assert [entry["wildcards"]["model"] for entry in others] == ["b", "c", "a"]
    assert is_a_chain()
    for line in lines():
        assert (
            json.dumps(json.loads(line), sort_keys=True, ensure_ascii=False).encode() + b"\n"
            == line
        )
    assert not list(Path("results").rglob(".*"))


def test_what_is_told_stays_and_what_is_new_comes_after():
    attempt("a").close("finished")
    compile_history()
    before = lines()
    compile_history()
    assert lines() == before
    attempt("b", started="0").close("failed", error="x")
    compile_history()
    assert lines()[:1] == before
    assert [entry["outcome"] for entry in told()] == ["finished", "failed"]
    assert is_a_chain()
    assert head(lines()) == hashlib.sha256(lines()[-1]).hexdigest()


def test_an_attempt_that_goes_on_is_not_told_of():
    made = attempt(run=f"{os.getpid()}.1.{machine()}.")
    compile_history()
    assert told() == []
    made.close("finished")
    compile_history()
    assert len(told()) == 1


def test_a_file_that_is_about_to_get_its_name_is_no_attempt():
    made = attempt()
    made.close("finished")
    passing(made.file).write_bytes(made.file.read_bytes())
    compile_history()
    assert [entry["file"] for entry in told()] == [made.file.as_posix()]


def test_what_was_taken_for_killed_and_ended_elsewhere_is_corrected():
    made = attempt()
    made.content["host"] = "node-7.example.org"
    made.file.write_text(json.dumps(made.content))
    compile_history()
    made.close("finished")
    for _ in range(2):
        compile_history()
    assert [entry["outcome"] for entry in told()] == ["killed", "finished"]
    assert is_a_chain()


def test_an_attempt_that_was_altered_is_not_taken_over():
    made = attempt()
    made.close("finished")
    compile_history()
    before = lines()
    made.file.write_text(made.file.read_text().replace("finished", "failed"))
    compile_history()
    assert lines() == before


def test_a_history_of_an_older_version_is_begun_anew():
    attempt().close("finished")
    HISTORY.parent.mkdir(parents=True, exist_ok=True)
    HISTORY.write_text('{"outcome": "finished", "file": "x"}\n')
    compile_history()
    assert [entry["wildcards"] for entry in told()] == [{"model": "m"}]
    assert is_a_chain()


@pytest.mark.parametrize("data", [b"[1]\n", b"{\n", b"\xff\n", b'{"a": ' * 5000 + b"\n"])
def test_a_line_that_cannot_be_read_is_left_where_it_is(data):
    attempt("a").close("finished")
    compile_history()
    HISTORY.write_bytes(HISTORY.read_bytes() + data)
    attempt("b").close("finished")
    compile_history()
    assert len(lines()) == 3
    assert entry_of(lines()[1]) == {}
    assert entry_of(lines()[2])["previous"] == hashlib.sha256(data).hexdigest()


def test_a_line_of_another_kind():
    append(Path(), {"signed": {"a": "b"}})
    append(Path(), {"signed": {"a": "c"}})
    assert [entry["signed"]["a"] for entry in told()] == ["b", "c"]
    assert is_a_chain()


def test_runs_that_write_at_once_lose_nothing():
    code = (
        "import sys; from pathlib import Path; from atlas.job.history import append\n"
        "for i in range(25): append(Path(), {'who': sys.argv[1], 'number': i})"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, who], env={**os.environ, "PYTHONPATH": str(SCRIPTS)}
        )
        for who in "ab"
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert is_a_chain()
    assert {(e["who"], e["number"]) for e in told()} == {(w, i) for w in "ab" for i in range(25)}


def test_no_history_without_runs(tmp_path):
    compile_history()
    assert list(tmp_path.iterdir()) == []
