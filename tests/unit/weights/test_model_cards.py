from __future__ import annotations

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id

from atlas.weights.model_cards import write_card

BASE = {"licence": "apache-2.0"}


def card(tmp_path, **more):
    settings = {"name": "m", "base": BASE, "address": "org/base", "revision": "abc",
                "adapter": True, "origin": "Trained here.", **more}  # fmt: skip
    write_card(tmp_path / "README.md", **settings)
    return ModelCard.load(tmp_path / "README.md")


@pytest.mark.parametrize(("adapter", "library"), [(True, "peft"), (False, "transformers")])
def test_the_hub_reads_it(tmp_path, adapter, library):
    found = card(tmp_path, adapter=adapter, datasets={"é: e": "mit", "d": "cc0-1.0"})
    assert found.data.base_model == "org/base"
    assert found.data.library_name == library
    assert found.data.license == "apache-2.0"
    assert found.data.datasets == ["d", "é: e"]
    assert found.data["base_model_revision"] == "abc"
    assert ("PeftModel.from_pretrained" in found.text) is adapter
    assert ('"org/base", revision="abc")' in found.text) is adapter


@pytest.mark.parametrize(
    ("more", "relation"),
    [({}, "adapter"), ({"adapter": False}, "finetune"),
     ({"adapter": False, "folder": "results/merged"}, "merge")],
)  # fmt: skip
def test_how_it_came_from_its_base_and_what_it_is_for(tmp_path, more, relation):
    found = card(tmp_path, languages=["en", "de", "en"], **more).data
    assert found["base_model_relation"] == relation
    assert found.language == ["de", "en"] and found.pipeline_tag == "text-generation"
    validate_repo_id(found.base_model)
    assert card(tmp_path, seq2seq=True, **more).data.pipeline_tag == "text2text-generation"


def test_a_base_on_no_hub_is_no_repository(tmp_path):
    base = "results/sources/bases/tiny"
    found = card(tmp_path, address=base, revision=None)
    assert found.data.base_model is None and found.data["base_model_path"] == base
    assert "base_model_relation" not in found.data.to_dict()
    assert f'from_pretrained("{base}")' in found.text


def test_what_it_says(tmp_path):
    text = card(tmp_path, sentence="A word.", settings={"seed": 3, "epochs": 1.0},
                digests={"base": "ab"}).text  # fmt: skip
    for part in ("# m\n", "A word.", "Trained here.", "| seed | 3 |", "| base | `ab` |"):
        assert part in text
    assert text.index("| epochs |") < text.index("| seed |")


def test_the_least_version_of_transformers(tmp_path):
    needs = "Needs transformers 4.50 or later; older ones fail, or compute other numbers."
    assert needs in card(tmp_path, base={**BASE, "transformers": "4.50"}).text
    assert "Needs" not in card(tmp_path).text


def test_licences_of_the_data_and_the_commit_of_the_base(tmp_path):
    base = {**BASE, "origin": {"hub": {"repo": "org/base", "revision": "main", "commit": "f" * 40}}}
    found = card(tmp_path, base=base, revision="main", datasets={"org/rows": "cc-by-4.0"})
    assert found.data["base_model_revision"] == "f" * 40
    assert "| org/rows | cc-by-4.0 |" in found.text
    assert "lineage.py trace results/models/m/adapter_model.safetensors" in found.text


def test_what_is_not_known_is_left_out(tmp_path):
    found = card(tmp_path, revision=None)
    assert "base_model_revision" not in found.data.to_dict()
    assert "datasets" not in found.data.to_dict()
    assert "## Training" not in found.text
    assert "## Digests" not in found.text
