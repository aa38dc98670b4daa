"""trace, explain and diff on real runs."""

import json
import re
import shutil
from pathlib import Path

import pytest

from micro import digests, micro_config, planned, snakemake, statements, write_config
from workflow.lineage.test_tampering import ADAPTER, MAIN, lineage

pytestmark = pytest.mark.workflow
TABLE_OF_DELTA = "delta_activations"


def answer(folder: Path, *arguments: str) -> dict:
    done = lineage(folder, *arguments, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def row_of(folder: Path, space: str) -> int:
    lines = (folder / MAIN).read_text().splitlines()[1:]
    return next(n for n, line in enumerate(lines, start=1) if line.startswith(space))


def test_trace_of_a_cell_ends_at_rows_weights_seeds_and_code(finished):
    number = row_of(finished, TABLE_OF_DELTA)
    found = answer(finished, "trace", f"{MAIN}:{number}")
    labels = {node["label"] for node in found["nodes"].values()}
    assert found["row"]["space"] == TABLE_OF_DELTA
    assert {"fetch_rows alpha", "fetch_base_1 micro", "train_adapter micro-beta-second"} <= labels
    assert not {x for x in labels if x.startswith(("embed_salient", "embed_flattened", "generate"))}
    (trained,) = (
        n for n in found["nodes"].values() if n["label"] == "train_adapter micro-beta-first"
    )
    known = statements(finished)["models/micro-beta-first/adapter_model.safetensors"]
    params = known["predicate"]["buildDefinition"]["externalParameters"]["params"]
    assert trained["params"]["seed"] == params["seed"]
    assert trained["function"] == "atlas.training.fine_tuning:train"
    assert dict(trained["facts"])["recipe"].startswith("objective sft, parameters lora")
    text = lineage(finished, "trace", f"{MAIN}:{number}", "--depth", "99").stdout
    used = [json.loads(x)["row"] for x in
            (finished / "results/models/micro-beta-first/rows.jsonl").read_text().splitlines()]  # fmt: skip
    assert f"beta/first: {', '.join(map(str, used))}" in text
    assert "data/beta.jsonl" in text
    assert f"seed {params['seed']}" in text


def test_trace_of_a_training_row_ends_at_its_raw_row(finished):
    file = "results/models/micro-alpha-second/rows.jsonl"
    row = json.loads((finished / file).read_text().splitlines()[2])["row"]
    raw = answer(finished, "trace", f"{file}:3")["raw"]
    assert [step["file"] for step in raw] == [
        "results/datasets/alpha/second.jsonl", "results/sources/datasets/alpha.jsonl",
    ]  # fmt: skip
    assert raw[1]["content"]["number"] == raw[1]["row"] == row
    done = lineage(finished, "trace", f"{file}:99")
    assert done.returncode == 2
    assert "rows 1 to 6" in done.stderr


def test_a_strangers_file_is_recognised_or_says_what_it_is(finished, tmp_path):
    stray = tmp_path / "found.safetensors"
    shutil.copy(finished / ADAPTER, stray)
    found = answer(finished, "trace", str(stray))
    assert found["file"] == ADAPTER
    assert "fetch_rows alpha" in {n["label"] for n in found["nodes"].values()}
    data = bytearray(stray.read_bytes())
    data[-1] ^= 1
    stray.write_bytes(data)
    done = lineage(finished, "trace", str(stray))
    assert done.returncode == 2
    assert "micro-alpha-first" in done.stderr
    assert "that base is here as micro" in done.stderr.replace("\n", " ")
    base = json.loads((finished / "results/sources/bases/micro/base.json").read_text())
    alone = lineage(finished, "trace", str(stray), "--root", str(tmp_path))
    assert base["weights_sha256"] in alone.stderr.replace("\n", "")


def test_trace_as_a_page(finished, tmp_path):
    page = tmp_path / "page.html"
    assert lineage(finished, "trace", MAIN, "--html", str(page)).returncode == 0
    text = page.read_text()
    assert "train_adapter micro-alpha-first" in text
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)


def test_explain_names_a_module_three_imports_deep_and_only_its_rules_run(copy):
    assert answer(copy, "explain", MAIN)["again"] is False
    assert lineage(copy, "explain", MAIN).returncode == 0
    # A constant of a module that functions hang on through others.
    file = copy / "scripts/atlas/activations/probes.py"
    file.write_text(file.read_text().replace('INPUT = "Input."', 'INPUT = "Input!"'))
    found = answer(copy, "explain", MAIN)
    assert found["again"] is True
    assert {(c["kind"], c["name"]) for c in found["causes"]} == {
        ("module", "atlas.activations.probes")
    }
    assert lineage(copy, "explain", MAIN).returncode == 1
    jobs = {job["job"].split()[0] for job in found["jobs"]}
    assert set(found["rules"]) == jobs
    assert len(planned(copy, MAIN)) == len(found["jobs"])
    assert not {r for r in found["rules"] if r.startswith(("train", "fetch_rows", "make_split"))}


def test_explain_is_silent_about_comments(copy):
    file = copy / "scripts/atlas/activations/probes.py"
    file.write_text("# A comment.\n" + file.read_text())
    assert answer(copy, "explain", MAIN)["again"] is False
    assert planned(copy, MAIN) == set()


def test_explain_names_a_parameter_and_its_values(copy):
    config = micro_config()
    config["recipes"]["quick"]["learning_rate"] = 0.02
    write_config(copy, config)
    found = answer(copy, "explain", MAIN)
    (cause,) = found["causes"]
    assert (cause["kind"], cause["name"]) == ("parameter", "recipe.learning_rate")
    assert (cause["before"], cause["after"]) == (0.01, 0.02)
    assert len(cause["jobs"]) == 4


def test_explain_tells_of_the_last_time(small_copy):
    rows = small_copy / "data/alpha.jsonl"
    rows.write_text(rows.read_text().replace("The sum is 6.", "The sum is six."))
    found = answer(small_copy, "explain", MAIN)
    assert {(c["kind"], c["name"]) for c in found["causes"]} == {("input", "data/alpha.jsonl")}
    before = statements(small_copy)["tables/main.csv"]
    snakemake(small_copy, MAIN, "--cores", "2", "--resources", "gpu=1")
    found = answer(small_copy, "explain", MAIN)
    assert found["again"] is False
    assert {(c["kind"], c["name"]) for c in found["causes"]} == {("input", "data/alpha.jsonl")}
    entries = [json.loads(x) for x in
               (small_copy / "results/provenance/history.jsonl").read_text().splitlines()]  # fmt: skip
    (again,) = (e for e in entries if e.get("rule") == "main_table" and "replaced" in e)
    old = {s["name"]: s["digest"]["sha256"] for s in before["subject"]}
    assert again["replaced"][MAIN]["from"] == old[MAIN]
    assert again["replaced"][MAIN]["to"] == digests(small_copy)[MAIN]


def test_two_clean_runs_are_identical(finished, twin):
    done = lineage(finished, "diff", ".", str(twin / "results"))
    assert done.returncode == 0
    assert "identical" in done.stdout


def test_two_runs_differ_by_one_row_of_one_raw_dataset(small, tmp_path):
    other = shutil.copytree(small, tmp_path / "another folder", symlinks=True)
    rows = other / "data/beta.jsonl"
    lines = rows.read_text().splitlines(keepends=True)
    lines[3] = lines[3].replace("runs away", "sleeps").replace("swims away", "sleeps")
    rows.write_text("".join(lines))
    snakemake(other, MAIN, "--cores", "2", "--resources", "gpu=1")
    found = answer(small, "diff", ".", str(other))
    assert [(c["kind"], c["name"], c["jobs"]) for c in found["causes"]] == [
        ("input", "data/beta.jsonl", ["fetch_rows beta"])
    ]
    assert set(found["causes"][0]["files"]) == set(found["differing"])
    assert {(r["file"], r["row"]) for r in found["rows"]} == {
        ("results/sources/datasets/beta.jsonl", 4)
    }
    assert not [name for name in found["differing"] if "alpha" in name]
    cells = found["cells"]
    assert cells
    ours = (small / MAIN).read_text().splitlines()
    theirs = (other / MAIN).read_text().splitlines()
    columns = ours[0].split(",")
    expected = {
        (number, column)
        for number, (a, b) in enumerate(zip(ours[1:], theirs[1:], strict=True), start=1)
        for column, x, y in zip(columns, a.split(","), b.split(","), strict=True)
        if x != y
    }
    assert {(c["row"], c["column"]) for c in cells if c["file"] == MAIN} == expected
    assert lineage(small, "diff", ".", str(other)).returncode == 1
