from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from dataclasses import replace

import pytest

from atlas.errors import AtlasError
from atlas.job.statements import STATEMENTS, place_of
from atlas.lineage.command import main
from atlas.lineage.forward import find as find_module
from atlas.lineage.forward import index as index_module
from atlas.lineage.forward.find import COLUMNS, find
from atlas.lineage.forward.index import AtHand, refresh
from unit.job.runs import A, B, Run, sha
from unit.lineage.worlds import DRAWN, POOLS, TABLE, rows_of, train, weights_of, whole

WEIGHTS = {weights_of(model) for model in DRAWN}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Run:
    """Read only."""
    return whole(Run(tmp_path_factory.mktemp("world") / "run"))


def files(run, expression, **more):
    return {one.file for one in find(run.records, expression, **more)}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rule = 'train_adapter'", WEIGHTS),
        ("model = 'a' AND stage = 'models'", {weights_of("a"), rows_of("a")}),
        ("seed > 2 AND objective = 'sft'", WEIGHTS),
        ("params ->> '$.recipe.epochs' = 2", WEIGHTS),
        ("packages MATCH 'trl<1.16' AND stage = 'models'", WEIGHTS),
        ("packages MATCH 'trl>=1.16'", set()),
        ("modules MATCH 'atlas.training.*'", WEIGHTS),
        ("inputs MATCH 'results/models/c/*' AND stage = 'pools'",
         {"results/pools/q/s/embeddings.npz", "results/pools/q/t/embeddings.npz"}),
        ("file GLOB '*/silhouette.csv'", {f"results/pools/{pool}/silhouette.csv" for pool in POOLS}),
        ("host MATCH 'ho*' AND finished > '2026' AND stage = 'tables'", {TABLE}),
        ("function = 'lib.module:work' AND pool IS NULL AND stage = 'tables'", {TABLE}),
        ("file IN (SELECT file FROM artefact WHERE rule = 'main_table')", {TABLE}),
        ("rule = 'main_table' -- a comment", {TABLE}),
    ],
)  # fmt: skip
def test_expressions(world, expression, expected):
    assert files(world, expression) == expected


def test_by_the_digest_of_what_was_read(world):
    digest = sha((world / weights_of("b")).read_bytes())
    assert files(world, f"sha256 = '{digest}'") == {weights_of("b")}
    assert files(world, f"inputs MATCH '{digest}'") == {
        f"results/pools/p/{s}/embeddings.npz" for s in "st"
    }


def test_every_column_can_be_asked(world):
    for column in COLUMNS.keys() - {"attempt"}:
        assert files(world, f"{column} IS NOT NULL"), column


@pytest.mark.parametrize(
    "expression",
    ["", "no_column = 1", "1; DROP TABLE part", "packages MATCH '!'", "load_extension('x')", "(",
     "1) UNION SELECT 1, 2, 3, 4, 5 FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) "
     "SELECT i FROM n) WHERE (1"],
)  # fmt: skip
def test_what_cannot_be_asked(world, expression):
    with pytest.raises(AtlasError, match="cannot be asked"):
        find(world.records, expression)
    assert files(world, "rule = 'main_table'") == {TABLE}


def test_what_is_wrong_with_a_package_is_said(world):
    with pytest.raises(AtlasError, match="'trl<<1' is no package at some versions"):
        find(world.records, "packages MATCH 'trl<<1'")


def test_a_question_without_an_end_is_given_up(world, monkeypatch):
    monkeypatch.setattr(find_module, "SECONDS", 0.0)
    many = ", ".join(f"artefact AS a{n}" for n in range(9))
    with pytest.raises(AtlasError, match=r"cannot be asked \(interrupted\)"):
        find(world.records, f"(SELECT count(*) FROM {many}) > 0")


def test_earlier_versions(tmp_path, capsys):
    own = whole(Run(tmp_path / "own"))
    train(own, "a", packages={"trl": "1.16.0"})
    assert files(
        own, "packages MATCH 'trl<1.16' AND model = 'a' AND rule LIKE 'train%'", earlier=True
    )
    own.job({weights_of("b"): "another"}, rule="train_adapter", wildcards={"model": "b"})
    ask = "rule = 'train_adapter' AND model = 'b'"
    assert [one.newest for one in find(own.records, ask, earlier=True)] == [True, False]
    assert len(find(own.records, ask)) == 1
    assert main(["find", ask, "--earlier", "--root", str(own.root)]) == 0
    assert "2 artefacts" in (text := capsys.readouterr().out) and "replaced since" in text
    assert main(["find", ask, "--json", "--root", str(own.root)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["file"] == weights_of("b")


# The index against the records that it is of.


def plain(statements):
    """Statements by their digests, without what the index leaves out."""
    return {
        made.digest: replace(made, code={k: v for k, v in made.code.items() if k != "outside"})
        for made in statements
    }


def agree(run):
    assert plain(AtHand(run.root).every) == plain(run.records.all_statements())


def test_the_index_says_what_the_statements_say(world, chain):
    assert len(plain(world.records.all_statements())) > 15
    agree(world)
    kept = list((world / ".snakemake/atlas").glob("*.sqlite"))
    assert len(kept) == 1
    agree(world)
    agree(chain)  # nothing is kept beside results that no run made
    assert not (chain / ".snakemake").exists()


def test_what_is_new_gone_and_altered(tmp_path):
    own = whole(Run(tmp_path / "own"))
    agree(own)
    train(own, "a", attempt="x/1.json")
    agree(own)
    digest = own.records.pointed(TABLE)
    (own / place_of(digest)).unlink()
    agree(own)
    (next((own / ".snakemake/atlas").glob("*.sqlite"))).write_bytes(b"no database")
    agree(own)
    other = own.records.pointed(weights_of("c"))
    data = (own / place_of(other)).read_bytes()
    (own / place_of(other)).write_bytes(data.replace(b'"seed":3', b'"seed":4'))
    next((own / ".snakemake/atlas").glob("*.sqlite")).unlink()
    agree(own)


SHARED = [{"name": "trl", "uri": "pkg:pypi/trl@1.0"}]
TRICKS = [
    {"p": SHARED, "outside": {"a": "b"}}, {"resolvedDependencies": SHARED, "runDetails": {}},
    {"x": '{"name":"trl"', "y": ']},"runDetails":'}, {"outside": {"x": {"y": "z"}}},
    {"a": {"resolvedDependencies": [*SHARED, *SHARED]}},
]  # fmt: skip


@pytest.mark.parametrize("params", TRICKS)
@pytest.mark.parametrize("packages", [{}, {"trl": "1.0"}, {"trl": "1.0", "zlib": "2", "Py.Q": "3"}])
def test_parts_that_are_shared_are_taken_from_where_they_belong(run, params, packages):
    """Whatever stands in a statement that looks like what is taken out of it."""
    for number in range(2):
        run.job(
            {A: f"a{number}"}, params=params, distributions=packages, outside={"job.py": "1" * 16}
        )
        run.job({B: f"b{number}"}, [A], params={}, distributions=packages, outside={"a}": "1" * 16})
    agree(run)


def test_a_run_leaves_its_statements_at_hand(world, tmp_path, monkeypatch):
    run = Run(shutil.copytree(world.root, tmp_path / "run", symlinks=True))
    shutil.rmtree(run / ".snakemake", ignore_errors=True)
    refresh(run.root)
    assert not (run / ".snakemake").exists()  # results that lie elsewhere than the run
    (run / ".snakemake").mkdir()
    refresh(run.root)
    stored = len(list((run / STATEMENTS).glob("*/*.json")))
    (kept,) = (run / ".snakemake/atlas").glob("statements-*.sqlite")
    with contextlib.closing(sqlite3.connect(kept)) as index:
        assert index.execute("SELECT count(*) FROM statement").fetchall() == [(stored,)]
    monkeypatch.setattr(index_module, "_Reader", None)  # a question reads none of them again
    assert len(AtHand(run.root).every) == stored
    # Where nothing can be kept, a run ends as it would have.
    kept.unlink()
    kept.mkdir()
    refresh(run.root)
    assert kept.is_dir()
