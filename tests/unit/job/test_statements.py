from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from atlas.job import statements
from unit.job.runs import sha

START, END = "2026-01-01T10:00:00+00:00", "2026-01-01T10:05:00+00:00"
CODE = {"function": "m:f", "modules": {"m": "0"}, "distributions": {"numpy": "2.0"}}
MADE = statements.Statement(
    outputs={"results/b": sha("b"), "results/a": sha("a")}, inputs={"raw": sha("c")},
    output_names={"results/a": "table", "results/b": "page"}, input_names={"raw": "source"},
    rule="r", wildcards={"model": "m"}, params={"x": 1}, code=CODE, started=START, finished=END,
    run="run", execution={"host": "h"}, packages={"NumPy": "2.0"}, temporary={"results/b": 7},
)  # fmt: skip


def test_statement_is_slsa_in_in_toto():
    found = statements.content(MADE)
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [
        {"name": "results/a", "digest": {"sha256": sha("a")}, "annotations": {"output": "table"}},
        {
            "name": "results/b",
            "digest": {"sha256": sha("b")},
            "annotations": {"output": "page", "temporary": True, "bytes": 7},
        },
    ]
    definition = found["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"] == [
        {"uri": "raw", "digest": {"sha256": sha("c")}, "annotations": {"input": "source"}},
        {"uri": "pkg:pypi/numpy@2.0", "name": "NumPy"},
    ]
    assert definition["internalParameters"] == {"code": CODE}
    assert definition["externalParameters"] == {
        "rule": "r", "wildcards": {"model": "m"}, "params": {"x": 1},
    }  # fmt: skip


def test_what_is_true_of_the_execution_only_stands_apart():
    details = statements.content(MADE)["predicate"]["runDetails"]
    assert details["delta_atlas_execution"] == {"host": "h"}
    assert details["metadata"] == {
        "invocationId": "run",
        "startedOn": START,
        "finishedOn": END,
    }


def test_a_file_without_a_name_is_refused():
    with pytest.raises(KeyError, match="raw"):
        statements.content(replace(MADE, input_names={}))


def test_what_is_written_is_read():
    assert statements.parse(statements.content(MADE), "sha") == replace(MADE, digest="sha")


@pytest.mark.parametrize("part", ["function", "modules", "distributions"])
def test_code_of_another_kind_is_no_statement(part):
    with pytest.raises(TypeError, match=part):
        statements.parse(statements.content(replace(MADE, code={**CODE, part: None})), "")


def test_distributions_are_those_of_importlib():
    expected = {}
    for distribution in metadata.distributions():
        expected.setdefault(distribution.metadata["Name"], distribution.version)
    found = statements.distributions()
    assert found == expected
    assert list(found) == sorted(found)
    assert found["pytest"] == pytest.__version__


def test_distributions_of_any_form(tmp_path, monkeypatch):
    """Old and new forms, what is damaged, and two of one name: the first on the path counts."""
    forms = {
        "first/one-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: One\nVersion: 1.0\n\n"
                                            "Name: Body\nVersion: 9\n",
        "first/old-2.0.egg-info/PKG-INFO": "Metadata-Version: 1.0\nName: old\nVersion: 2.0\n",
        "first/bad-3.0.dist-info/METADATA": "",
        "second/one-1.1.dist-info/METADATA": "Name: One\nVersion: 1.1\n",
    }  # fmt: skip
    for name, text in forms.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("sys.path", [str(tmp_path / "first"), str(tmp_path / "second")])
    assert statements.distributions() == {"One": "1.0", "old": "2.0"}


def test_the_environment_tells_what_is_known():
    found = statements.environment()
    assert found["python"] == platform.python_version()
    assert found["machine"] == platform.machine()
    assert all(found.values())
    models = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert found.get("processor") == (models[0].strip() if models else None)
    assert ("driver" in found) == Path("/proc/driver/nvidia/version").is_file()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue\nGCC 12.3\n", "550.54.15"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.1  Release\n", "570.1"),
        ("something else\n", None),
        (None, None),
    ],
)
def test_a_driver_in_its_two_forms_or_none(tmp_path, monkeypatch, text, expected):
    """On machines other than this one; what is not known is left out."""
    if text is not None:
        (tmp_path / "version").write_text(text)
    line_of = statements._line_of
    monkeypatch.setattr(
        statements, "_line_of", lambda file, *more: line_of(str(tmp_path / Path(file).name), *more)
    )
    found = statements.environment()
    assert "processor" not in found
    assert found.get("driver", "absent") == (expected or "absent")


def test_store_is_content_addressed_and_mirrored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digest = statements.store(MADE, ["results/models/m/a.txt", "results/b"])
    content = statements.content(MADE)
    (stored,) = (tmp_path / "results/provenance/statements").rglob("*.json")
    assert stored.stem == digest == hashlib.sha256(stored.read_bytes()).hexdigest()
    for name in ("models/m/a.txt", "b"):
        link = tmp_path / f"results/provenance/attestations/{name}.json"
        assert json.loads(link.read_text()) == content
    newer = replace(MADE, outputs={})
    assert statements.store(newer, ["results/b"]) != digest
    assert json.loads(link.read_text()) == statements.content(newer)
    assert json.loads(stored.read_text()) == content
    assert not list(tmp_path.rglob("*.tmp"))
