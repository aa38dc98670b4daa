"""docs/provenance.md lists what an attacker without the key can do unnoticed: each line of it, done."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from atlas.files import STAGE_MARK
from atlas.job.history import compile_history
from atlas.lineage.command import main
from atlas.lineage.signature import sign
from atlas.owners import machine, owner, start_time
from unit.job.runs import RAW, A, B, Run, sha
from unit.lineage.test_verify_code import CODE, code_digest

PAGE = Path(__file__).resolve().parents[3] / "docs/provenance.md"
HEADING = "\n## What goes unnoticed\n"
ATTEMPTS = "results/provenance/attempts/0123456789ab"
HISTORY = "results/provenance/history.jsonl"


def attempt(run, number, **more):
    value = {"run": "1.2.host.", "rule": "rule", "started": number, "outcome": "finished", "user": "ann",
             "host": "host", "process": "1.2", "wildcards": {}, "attempt": 1, **more}  # fmt: skip
    run.put(f"{ATTEMPTS}/rule-00-{number}.json", json.dumps(value))


def make(folder):
    """Two jobs of the code that is there, with rules, attempts, revisions, logs and a history."""
    run = Run(folder)
    for name, text in CODE.items():
        run.put(f"scripts/atlas/{name}.py", text)
    run.put("rules/a.smk", "rule a:\n")
    run.put(RAW, "raw")
    run.put("logs/a.log", "done")
    run.put("results/provenance/revisions/model--a@main.json", '{"commit": "0"}')
    leaf = {"atlas.leaf": code_digest(CODE["leaf"])}
    run.put(f"{ATTEMPTS}/run.json", json.dumps({"run": "1.2.host.", "user": "ann"}))
    again(run, "a")
    run.job({B: "b"}, [A], modules={**leaf, "atlas.work": code_digest(CODE["work"])},
            function="atlas.work:work", rule="second")  # fmt: skip
    for number in "123":
        attempt(run, number)
    compile_history(run.root)
    return run


def again(run, data):
    leaf = {"atlas.leaf": code_digest(CODE["leaf"])}
    outside = {"rules/a.smk": sha("rule a:\n")[:16]}
    code = {"modules": leaf, "function": "atlas.leaf:leaf", "rule": "first"}
    return run.job({A: data}, [RAW], outside=outside, **code)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A signed run: its folder, and the public key."""
    run = make(tmp_path_factory.mktemp("signed") / "run")
    _, public = sign(run.records, tmp_path_factory.mktemp("key") / "key.pem")
    return run.root, public


@pytest.fixture
def signed(original, tmp_path):
    folder, public = original
    return Run(shutil.copytree(folder, tmp_path / "run", symlinks=True)), public


def told(run, public, capsys) -> tuple[int, list[str], list[str]]:
    """Exit status, files at fault, and notes, of a verification with the key."""
    status = main(["verify", "--json", "--root", str(run.root), "--signature", str(public)])
    value = json.loads(capsys.readouterr().out)
    return status, [finding["file"] for finding in value["findings"]], value["notes"]


def an_earlier_state(run):
    """What was signed later is gone, and what was there before is back: a copy that fits itself."""
    kept = run.root.with_name("kept")
    shutil.copytree(run / "results", kept, symlinks=True)
    attempt(run, "9")
    compile_history(run.root)
    shutil.rmtree(run / "results")
    kept.rename(run / "results")


def later_runs(run):
    attempt(run, "9", user="mallory")
    compile_history(run.root)


def words_in_modules(run):
    text = CODE["leaf"].replace(":\n", ':\n    """Lies."""\n')
    run.put("scripts/atlas/leaf.py", f"# Lies.\n{text}")


def rules(run):
    run.put("rules/a.smk", "rule a:\n    shell: 'rm -rf x'\n")


def beside_the_results(run):
    run.put("logs/a.log", "never ran")
    run.put("config/config.yaml", "seeds: [7]\n")


def times_and_permissions(run):
    os.utime(run / A, (7, 7))
    (run / A).chmod(0o777)


def empty_folders(run):
    (run / "results/models/none/at/all").mkdir(parents=True)


def links(run):
    (run / "elsewhere").write_bytes((run / A).read_bytes())
    (run / A).unlink()
    (run / A).symlink_to(run / "elsewhere")


def unfinished_files(run):
    living = owner(f"{os.getpid()}.{start_time(os.getpid())}.{machine()}.")
    run.put(f"results/models/.x{STAGE_MARK}{living}.txt", "x")


DONE = {f.__name__.replace("_", " "): f for f in (
    an_earlier_state, later_runs, words_in_modules, rules, beside_the_results, times_and_permissions,
    empty_folders, links, unfinished_files,
)}  # fmt: skip
NOTED = {"later runs": "came after the signature", "rules": "rules/a.smk (1 jobs)",
         "unfinished files": "being written by a run"}  # fmt: skip


def test_the_page_lists_them():
    section = PAGE.read_text().partition(HEADING)[2].partition("\n## ")[0]
    assert re.findall(r"^\* \*\*(.+?)\*\*:", section, re.MULTILINE) == list(DONE)
    lines = re.split(r"\n(?=\* )", section)[1:]
    assert {line.partition("**:")[0][4:] for line in lines if "a note tells" in line} == set(NOTED)


@pytest.mark.parametrize("what", [None, *DONE])
def test_what_goes_unnoticed(signed, capsys, what):
    run, public = signed
    (DONE[what] if what else lambda run: None)(run)
    status, faults, notes = told(run, public, capsys)
    assert (status, faults) == (0, [])
    said = [note for note in notes if NOTED.get(what, "\0") in note]
    assert len(notes) == len(said) == (what in NOTED)


def cut(run, change):
    file = run / HISTORY
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))


def forged(run):
    """The history made anew of attempts that were altered, so that all fits."""
    (run / HISTORY).unlink()
    attempt(run, "2", user="mallory")
    compile_history(run.root)


def deleted(run):
    """An attempt is gone, and the history made anew without it."""
    (run / HISTORY).unlink()
    (run / ATTEMPTS / "rule-00-2.json").unlink()
    compile_history(run.root)


NOTICED = {
    "who ran it": (forged, HISTORY), "an attempt deleted": (deleted, HISTORY),
    "lines removed from the end": (lambda run: cut(run, lambda x: x[:2]), HISTORY),
    "emptied": (lambda run: cut(run, lambda x: []), HISTORY),
    "no history": (lambda run: (run / HISTORY).unlink(), HISTORY),
    "reversed": (lambda run: cut(run, lambda x: x[::-1]), HISTORY),
    "twice": (lambda run: cut(run, lambda x: [*x[:2], *x[1:]]), HISTORY),
    "a commit": (lambda run: run.put("results/provenance/revisions/model--a@main.json", '{"commit": "1"}'),
                 "results/provenance/revisions/model--a@main.json"),
    "another result": (lambda run: again(run, "other"), A),
    "a result gone": (lambda run: (run / B).unlink(), B),
    "a source gone": (lambda run: (run / RAW).unlink(), RAW),
    "a module": (lambda run: run.put("scripts/atlas/leaf.py", "X = 2\n"), A),
    "the signature": (lambda run: (run / "results/provenance/manifest.sig").unlink(),
                      "results/provenance/manifest.sig"),
}  # fmt: skip


@pytest.mark.parametrize("what", NOTICED)
def test_what_is_noticed(signed, capsys, what):
    run, public = signed
    act, file = NOTICED[what]
    act(run)
    status, faults, _ = told(run, public, capsys)
    assert status == 1
    assert file in faults


@pytest.mark.parametrize("name", ["manifest/manifest.json", "manifest.sig"])
@pytest.mark.parametrize("act", ["altered", "gone"])
def test_files_of_a_signature_without_the_key(signed, capsys, name, act):
    run, _ = signed
    file = run / "results/provenance" / name
    file.unlink() if act == "gone" else file.write_bytes(file.read_bytes() + b" ")
    assert main(["verify", "--json", "--root", str(run.root)]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["kind"], finding["file"]) == ("signature", f"results/provenance/{name}")


def test_without_a_key_all_that_fits_is_whole(signed, capsys):
    """What the page says before its list."""
    run, public = signed
    shutil.rmtree(run / "results")
    make(run.root)
    assert main(["verify", "--json", "--root", str(run.root)]) == 0
    assert told(run, public, capsys)[0] == 1 if capsys.readouterr() else False
