"""What makes an earlier execution, or one model of it, no longer good."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from atlas.job import earlier, statements
from atlas.job.records import Records
from atlas.job.statements import Statement

TIMES = {"started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:01:00+00:00"}
OUT = "results/pools/p/shards/0000.h5"
MODELS = [{"name": n, "base": "small" if n == "c" else "tiny"} for n in "abc"]


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def planned(models=MODELS, **inputs):
    found = {"resources/probes.txt": "p", "results/bases/tiny/w": "t", "results/bases/small/w": "s",
             **{f"results/models/{m['name']}/w": m["name"] for m in models}, **inputs}  # fmt: skip
    found = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in found.items()}
    kinds = {"bases": "bases", "models": "weights"}
    return Statement(
        rule="compute_shard", wildcards={"pool": "p"},
        params={"models": models, "dtypes": {"tiny": "float32", "small": "float32"}},
        code={"function": "atlas.some:f", "modules": {"m": "1"}, "distributions": {}},
        outputs={OUT: ""}, inputs=found, output_names={OUT: "activations"},
        input_names={path: kinds.get(Path(path).parts[1], "probes") for path in found},
    )  # fmt: skip


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(OUT).parent.mkdir(parents=True)
    Path(OUT).write_text("arrays")
    done = replace(planned(), outputs={OUT: sha256(OUT)}, execution={"device": "cpu"}, **TIMES)
    return statements.store(done, [OUT])


def kept(now):
    return set(earlier.kept(now, Records(Path()), sha256)[0].models)


def test_nothing_changed(made):
    found, statement = earlier.kept(planned(), Records(Path()), sha256)
    assert found.models == {"a": "tiny", "b": "tiny", "c": "small"}
    assert found.files == {"activations": Path(OUT).resolve()}
    assert statement.digest == made


def test_models_come_and_go(made):
    assert kept(planned([*MODELS[1:], {"name": "d", "base": "tiny"}])) == {"b", "c"}


@pytest.mark.parametrize(
    ("file", "left"),
    [("results/models/a/w", {"b", "c"}), ("results/bases/tiny/w", {"c"}),
     ("resources/probes.txt", set())],
)  # fmt: skip
def test_files_that_changed(made, file, left):
    assert kept(planned(**{file: "other"})) == left


def test_another_base_of_the_same_name_and_another_precision(made):
    moved = [{"name": "a", "base": "small"}, *MODELS[1:]]
    assert kept(planned(moved)) == {"b", "c"}
    now = planned()
    now.params["dtypes"] = {"tiny": "bfloat16", "small": "float32"}
    assert kept(now) == {"c"}


@pytest.mark.parametrize(
    "change",
    [{"code": {"function": "atlas.some:f", "modules": {"m": "2"}, "distributions": {}}},
     {"params": {**planned().params, "new_tokens": 8}}, {"rule": "other"}],
)  # fmt: skip
def test_what_concerns_all_models(made, change):
    assert kept(replace(planned(), **change)) == set()


def test_only_what_the_statement_says(made):
    Path(OUT).write_text("altered")
    assert kept(planned()) == set()
    Path(OUT).unlink()
    assert kept(planned()) == set()
    Path(OUT).write_text("arrays")
    assert kept(planned()) == {"a", "b", "c"}
    record = Path(statements.place_of(made))
    record.chmod(0o644)
    record.write_text(record.read_text().replace("float32", "float16"))
    assert kept(planned()) == set()


def test_another_device(made):
    done = replace(planned(), outputs={OUT: sha256(OUT)}, execution={"device": "some GPU"}, **TIMES)
    statements.store(done, [OUT])
    assert kept(planned()) == set()
