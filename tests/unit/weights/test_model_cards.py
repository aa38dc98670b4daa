from __future__ import annotations

import pytest
from huggingface_hub import ModelCard

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
