"""Models that the tests of instruction deltas share."""

import shutil

import pytest

from unit.deltas.instruction_models import delta_of, family


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Base, instruct model, model and delta."""
    place = tmp_path_factory.mktemp("family")
    found = family(place)
    return *found, delta_of(*found[:2], place / "delta")


@pytest.fixture
def copied(models, tmp_path):
    """The same, for tests that change them."""
    base, instruct, model = (shutil.copytree(p, tmp_path / p.name) for p in models[:3])
    place = shutil.copytree(models[3][0].parent, tmp_path / "delta")
    return base, instruct, model, (place / "delta.safetensors", place / "delta_meta.json")


@pytest.fixture(scope="session")
def bfloat_models(tmp_path_factory):
    """Base, instruct model and model, in bfloat16."""
    return family(tmp_path_factory.mktemp("family"), dtype="bfloat16")
