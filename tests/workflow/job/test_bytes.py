"""The same bytes whatever the number of cores and the folder."""

import json
from datetime import datetime
from itertools import pairwise

import pytest

from atlas.configuration.pools import MAIN_SPACES
from micro import digests, litter, shared_folder, snakemake, statements

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"


def test_same_bytes_on_one_core_and_on_two_in_another_folder(finished, twin):
    one, two = digests(finished), digests(twin)
    assert len(one) > 60
    assert one == two


def test_two_models_train_at_once_without_a_gpu(copy):
    adapters = [
        f"results/{name}" for name in statements(copy) if name.endswith("adapter_model.safetensors")
    ]
    snakemake(copy, *adapters, "--force", "--cores", "2", "--resources", "gpu=1")
    spans = []
    for name, found in statements(copy).items():
        if name.endswith("adapter_model.safetensors"):
            times = found["predicate"]["runDetails"]["metadata"]
            spans.append(tuple(datetime.fromisoformat(times[k])
                               for k in ("startedOn", "finishedOn")))  # fmt: skip
    assert len(spans) == 4
    spans.sort()
    assert any(later[0] < earlier[1] for earlier, later in pairwise(spans))


def test_no_path_of_the_machine_in_any_artefact(finished, twin, tmp_path_factory):
    place = str(shared_folder(tmp_path_factory)).encode()
    for folder in (finished, twin):
        for name in digests(folder):
            assert place not in (folder / name).read_bytes(), name


def test_every_artefact_has_a_statement_with_its_digest(finished):
    known = {
        f"results/{name}": subject["digest"]["sha256"]
        for name, found in statements(finished).items()
        for subject in found["subject"]
        if subject["name"] == f"results/{name}"
    }
    assert known == digests(finished)
    for found in statements(finished).values():
        assert found["_type"] == "https://in-toto.io/Statement/v1"
        assert found["predicateType"] == "https://slsa.dev/provenance/v1"


def test_inputs_are_attested_by_the_digest_of_what_made_them(finished):
    made = digests(finished)
    checked = 0
    for found in statements(finished).values():
        for item in found["predicate"]["buildDefinition"]["resolvedDependencies"]:
            if item["uri"] in made:
                assert item["digest"]["sha256"] == made[item["uri"]]
                checked += 1
    assert checked > 100


def test_no_litter(finished, twin):
    assert litter(finished) == litter(twin) == []


def test_the_table_and_its_page(finished):
    lines = (finished / MAIN).read_text().splitlines()
    assert lines[0] == "space,dimension,distance,pool,base,models,silhouette,published"
    assert len(lines) == 1 + len(MAIN_SPACES) * 2 * 2
    assert "Delta activations" in (finished / "results/tables/main.md").read_text()


def test_activations_hold_every_model_and_base(finished):
    import h5py

    with h5py.File(finished / "results/pools/micro/activations.h5") as file:
        assert len(file["probes"]) == 5
        assert file["bases/micro/last_token"].shape == (5, 32)
        assert sorted(file["models"]) == sorted(
            p.name for p in (finished / "results/models").iterdir()
        )
        assert file["models/micro-alpha-first/last_token"].dtype == "float32"


def test_rows_lead_back_to_raw_rows(finished):
    raw = (finished / "results/sources/datasets/alpha.jsonl").read_text().splitlines()
    split = (finished / "results/datasets/alpha/second.jsonl").read_text().splitlines()
    used = (finished / "results/models/micro-alpha-second/rows.jsonl").read_text().splitlines()
    by_id = {json.loads(line)["row"]: json.loads(line) for line in split}
    assert [json.loads(line)["row"] for line in split] == list(range(8, 16))
    for line in used:
        row = json.loads(line)["row"]
        question = json.loads(raw[row])["item"]["question"]
        assert question in by_id[row]["prompt"]


def test_dag_and_rulegraph(finished):
    for option in ("--dag", "--rulegraph"):
        assert "digraph" in snakemake(finished, MAIN, option).stdout
