from __future__ import annotations

import ast

import pytest

from atlas.lineage.verify import verify
from unit.job.runs import A, B, sha
from unit.lineage.faults import found, the_one

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
