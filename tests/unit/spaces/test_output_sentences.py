from __future__ import annotations

import json

import numpy as np
import pytest

from atlas.errors import AtlasError
from atlas.files import write_jsonl
from atlas.spaces.embeddings import read_embeddings
from atlas.spaces.output_sentences import embed
from unit.conftest import described
from unit.sources.test_encoders import fetch


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return fetch(tmp_path_factory.mktemp("encoder"))


def test_the_mean_of_encoded_sentences(tmp_path, encoder):
    from sentence_transformers import SentenceTransformer

    texts = {"b": ["one", "two, which is longer"], "a": ["three", "four five"]}
    for name, written in texts.items():
        write_jsonl(tmp_path / name, [
            {"model": name, "probe": i, "text": text} for i, text in enumerate(written)
        ])  # fmt: skip
    embed(sentences=[tmp_path / "b", tmp_path / "a"], encoder=encoder,
          models=described(["a", "b"]), embeddings=tmp_path / "e.npz")  # fmt: skip
    found = read_embeddings(tmp_path / "e.npz")
    network = SentenceTransformer(str(encoder[0].parent), device="cpu")
    expected = [np.mean([network.encode(t) for t in texts[n]], axis=0) for n in ("a", "b")]
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-5)
    assert found.dimension == json.loads((encoder[0].parent / "config.json").read_text())[
        "hidden_size"
    ]  # fmt: skip


def test_a_model_that_ends_at_once(tmp_path, encoder):
    """Empty sentences are sentences: an encoder has an embedding for them too."""
    rows = [{"model": "a", "probe": i, "text": ""} for i in range(2)]
    write_jsonl(tmp_path / "s", [*rows, {"model": "b", "probe": 0, "text": "x"}])
    embed(sentences=[tmp_path / "s"], encoder=encoder, models=described(["a", "b"]),
          embeddings=tmp_path / "e.npz")  # fmt: skip
    assert np.isfinite(read_embeddings(tmp_path / "e.npz").embeddings).all()


def test_models_that_all_end_at_once_are_not_called_alike(tmp_path, encoder):
    rows = [{"model": name, "probe": i, "text": " "} for name in "ab" for i in range(2)]
    write_jsonl(tmp_path / "s", rows)
    embed(sentences=[tmp_path / "s"], encoder=encoder, models=described(["a", "b"]),
          embeddings=tmp_path / "e.npz")  # fmt: skip
    found = read_embeddings(tmp_path / "e.npz")
    assert found.embeddings is None
    assert found.reason == "no model of the pool writes anything to the probes"


def test_a_model_without_sentences(tmp_path, encoder):
    write_jsonl(tmp_path / "s", [{"model": "a", "probe": 0, "text": "x"}])
    with pytest.raises(AtlasError, match="b: no output sentences"):
        embed(sentences=[tmp_path / "s"], encoder=encoder, models=described(["a", "b"]),
              embeddings=tmp_path / "e.npz")  # fmt: skip
