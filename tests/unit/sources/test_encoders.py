from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.sources.encoder_files import ENCODER_FILES
from atlas.sources.encoders import fetch_encoder

BERT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 128}  # fmt: skip
RANDOM = {"random": {"architecture": "bert", "seed": 1, "config": BERT}}


def fetch(folder, source=RANDOM):
    files = [folder / name for name in ENCODER_FILES]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    fetch_encoder(
        name="e", source=source, licence="mit", cache=str(folder), files=files,
        record=folder / "encoder.json",
    )  # fmt: skip
    return files


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return fetch(tmp_path_factory.mktemp("encoder"))


def test_it_is_a_sentence_transformer_with_mean_pooling(encoder):
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    folder = encoder[0].parent
    network = SentenceTransformer(str(folder), device="cpu")
    ids = network.tokenizer(["Hello there."], return_tensors="pt")
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(folder)(**ids).last_hidden_state
    expected = hidden[0].mean(dim=0).numpy()
    np.testing.assert_allclose(network.encode(["Hello there."])[0], expected, atol=1e-5)


def test_the_same_each_time_and_also_from_a_folder(encoder, tmp_path):
    again = fetch(tmp_path / "again")
    local = fetch(tmp_path / "local", {"local": str(encoder[0].parent)})
    for one, two, three in zip(encoder, again, local, strict=True):
        assert one.read_bytes() == two.read_bytes() == three.read_bytes()
    record = json.loads((tmp_path / "again/encoder.json").read_text())
    assert record["weights_sha256"] == sha256_file(
        encoder[ENCODER_FILES.index("model.safetensors")]
    )


def test_a_missing_file(encoder, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/modules.json").write_text("[]")
    with pytest.raises(AtlasError, match=r"encoders.e: the source has no config.json"):
        fetch(tmp_path / "out", {"local": str(tmp_path / "in")})
