"""Crates of a finished run: complete in their own folder, valid, and the same wherever they lie."""

import hashlib
import json
import os
import shutil

import pytest

from atlas.configuration.pools import MAIN_SPACES
from atlas.job.records import Records
from atlas.lineage.crate_files import crate_files
from atlas.lineage.verify import verify, verify_crate
from atlas.publishing.crates.run import TOOLS
from crate_validator import LEFT, validate
from micro import MAIN_JOBS, digests, litter, planned, snakemake

pytestmark = pytest.mark.workflow
MAIN = "results/crates/main/ro-crate-metadata.json"
OTHER = "results/crates/pools/micro/neighbours.csv/ro-crate-metadata.json"
MODELS = [
    f"micro-{dataset}-{split}" for dataset in ("alpha", "beta") for split in ("first", "second")
]


@pytest.fixture(scope="module")
def crated(finished, tmp_path_factory):
    """A copy of the finished run with two crates; tests must not change it."""
    folder = tmp_path_factory.mktemp("crated") / "checkout"
    shutil.copytree(finished, folder, symlinks=True)
    snakemake(folder, MAIN, OTHER, "--cores", "1")
    return folder


def metadata(file):
    return json.loads(file.read_text())


def names(crate):
    return {p.relative_to(crate).as_posix() for p in crate.rglob("*") if p.is_file()}


def complaints(crate):
    """What the validator has to say, by check; nothing of it is REQUIRED."""
    issues = validate(crate)
    assert [issue for issue in issues if issue.required] == []
    return {issue.check for issue in issues}


def test_a_crate_is_valid_where_it_was_made(crated):
    assert complaints((crated / OTHER).parent) <= set(LEFT)


def test_a_crate_is_valid_and_whole_zipped_and_unpacked_elsewhere(crated, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "crate"), "zip", (crated / MAIN).parent)
    elsewhere = tmp_path / "an other place"
    shutil.unpack_archive(archive, elsewhere)
    assert names(elsewhere) == names((crated / MAIN).parent)
    assert complaints(elsewhere) <= set(LEFT)
    report = verify_crate(elsewhere)
    assert report.faults == []
    assert report.statements == MAIN_JOBS
    for file in crate_files(metadata(elsewhere / MAIN.rpartition("/")[2])):
        if file.included:
            data = (elsewhere / file.path).read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (file.sha256, file.size)


def test_the_crate_of_the_table_holds_the_whole_run(crated):
    """All artefacts of the run but weights of sources, all code, all data, the configuration."""
    there = names((crated / MAIN).parent)
    made = {p for p in digests(crated) if not p.startswith("results/crates/")}
    away = {"results/sources/bases/micro/model.safetensors",
            "results/sources/encoders/tiny/model.safetensors"}  # fmt: skip
    assert {p for p in there if p.startswith("results/") and "/provenance/" not in p} == made - away
    assert {f"results/models/{m}/adapter_model.safetensors" for m in MODELS} <= there
    assert {f"results/pools/micro/figures/map_{s}.svg" for s in MAIN_SPACES} <= there
    assert {"Snakefile", "rules/common.smk", "scripts/atlas/job/entry.py", "scripts/job.py",
            "config/schema.json", "profiles/default/config.yaml", "envs/requirements.txt",
            "resources/probes.txt", "notebooks/analysis.ipynb", "data/alpha.jsonl",
            "configuration/merged.json"} <= there  # fmt: skip
    assert any(p.endswith("micro.yaml") for p in there)
    assert not any("__pycache__" in p for p in there)
    known = {f.path: f for f in crate_files(metadata(crated / MAIN))}
    assert {path for path, file in known.items() if not file.included} == away
    for path in away:
        assert known[path].sha256 == hashlib.sha256((crated / path).read_bytes()).hexdigest()


def test_each_job_is_an_action_with_what_it_read_and_wrote(crated):
    graph = {e["@id"]: e for e in metadata(crated / MAIN)["@graph"]}
    actions = [e for e in graph.values() if e["@type"] == "CreateAction"]
    assert len(actions) == 1 + MAIN_JOBS
    (train,) = [a for a in actions if a["name"] == "train_adapter micro-beta-first"]
    folder = "results/models/micro-beta-first/"
    assert {r["@id"] for r in train["result"]} == {
        folder + name
        for name in (
            "adapter_model.safetensors",
            "adapter_config.json",
            "README.md",
            "training.csv",
        )
    }
    values = {graph[o["@id"]]["name"]: graph[o["@id"]].get("value") for o in train["object"]}
    assert values["model"] == "micro-beta-first"
    assert json.loads(values["recipe"])["learning_rate"] == 0.01
    assert graph[f"{TOOLS}/train_adapter"]["hasPart"][0] == {"@id": "scripts/job.py"}
    assert f"{folder}rows.jsonl" in {o["@id"] for o in train["object"]}
    assert graph["#model/micro-beta-first"]["isBasedOn"] == [
        {"@id": "#base/micro"}, {"@id": "#dataset/beta"},
    ]  # fmt: skip


def test_the_crate_of_another_artefact_holds_what_is_behind_it_only(crated):
    there = names((crated / OTHER).parent)
    assert "results/pools/micro/neighbours.csv" in there
    assert {f"results/pools/micro/{s}/embeddings.npz" for s in MAIN_SPACES} <= there
    assert not any(p.startswith(("results/tables", "results/pools/micro/figures")) for p in there)
    assert verify_crate((crated / OTHER).parent).faults == []


def test_crates_are_attested_and_leave_no_litter(crated):
    records = Records(crated)
    made = records.statement(MAIN)
    assert (made.rule, list(made.inputs)) == ("write_crate", ["results/tables/main.csv"])
    assert verify(records).faults == []
    assert litter(crated) == []
    assert planned(crated, MAIN, OTHER) == set()


def test_the_same_results_and_records_make_the_same_metadata(crated, tmp_path):
    before = (crated / MAIN).read_bytes()
    other = tmp_path / "checkout"
    shutil.copytree(crated, other, symlinks=True)
    stray = other / "results/crates/main/results/models/stray.txt"
    stray.write_text("stray")
    snakemake(other, MAIN, "--cores", "1", "--forcerun", "write_crate")
    assert (other / MAIN).read_bytes() == before
    assert not stray.exists()


def test_an_artefact_that_was_altered_is_not_put_into_a_crate(crated, tmp_path):
    other = tmp_path / "checkout"
    shutil.copytree(crated, other, symlinks=True)
    file = other / "results/datasets/alpha/first.jsonl"
    stamp = file.stat()
    data = file.read_bytes()
    file.unlink()  # the crate of the copy is linked to it no more
    file.write_bytes(data.replace(b"1", b"2"))
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    done = snakemake(other, MAIN, "--cores", "1", "--forcerun", "write_crate", check=False)
    assert done.returncode
    assert "results/datasets/alpha/first.jsonl: was altered" in done.stdout
    assert not (other / MAIN).exists()


@pytest.mark.parametrize("target", ["crates/main", "provenance/history.jsonl", "nothing", "../x"])
def test_odd_targets_have_no_crate(crated, target):
    file = f"results/crates/{target}/ro-crate-metadata.json"
    done = snakemake(crated, "-n", file, "--cores", "1", check=False)
    assert done.returncode
    assert "MissingRuleException" in done.stdout
