"""Signatures of models, which model-signing's own program verifies."""

import sys

import pytest

import programs
from atlas.errors import AtlasError
from atlas.lineage.signature import _public_key
from atlas.publishing.model_signatures import sign_model


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json", "bom.cdx.json", "README.md"):
        (folder / name).write_text(name)
    return folder


def signed(folder, key):
    files = [
        folder / name
        for name in ("adapter_model.safetensors", "adapter_config.json", "bom.cdx.json")
    ]
    sign_model(files=files, signature=folder / "model.sig", key=str(key))


def verified(folder, public) -> int:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature",
               str(folder / "model.sig"), "--public_key", str(public), "--ignore_unsigned_files"]  # fmt: skip
    return programs.run(command, cwd=folder.parent).returncode


def test_the_program_of_model_signing_verifies_it(folder, tmp_path):
    key = tmp_path / "key.pem"
    public = _public_key(key)
    signed(folder, key)
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "bom.cdx.json", "model.sig",
    ]  # fmt: skip
    assert verified(folder, public) == 0
    # A card that is fitted to a repository is not what is signed; one byte of the weights is.
    (folder / "README.md").write_text("another")
    assert verified(folder, public) == 0
    (folder / "adapter_model.safetensors").write_text("adapter_model.safetensorS")
    assert verified(folder, public) != 0


def test_without_a_key_nothing_is_signed(folder, tmp_path):
    for key in (None, str(tmp_path / "none.pem")):
        with pytest.raises(AtlasError, match=r"signing_key: .*name a private EC key"):
            sign_model(files=[folder / "bom.cdx.json"], signature=folder / "model.sig", key=key)
    (tmp_path / "none.pem").write_text("x")
    with pytest.raises(AtlasError, match="is not a private key"):
        signed(folder, tmp_path / "none.pem")
    assert not (folder / "model.sig").exists()
