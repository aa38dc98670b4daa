from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from atlas.activations.probes import read_probes
from atlas.errors import AtlasError
from atlas.files import read_jsonl, write_jsonl
from atlas.spaces.embeddings import read_embeddings
from atlas.spaces.output_sentences import embed, generate_shard
from unit.conftest import described, load
from unit.sources.test_encoders import fetch

NEW_TOKENS = 8


def generate(path, probes, tiny_base, pool, names=None):
    generate_shard(
        probes=probes, bases=tiny_base, weights=[f for files in pool.values() for f in files],
        models=[{"name": n, "base": "tiny"} for n in names or pool], dtypes={"tiny": "float32"},
        base_names={"tiny": ["tiny"]}, new_tokens=NEW_TOKENS, sentences=path,
    )  # fmt: skip
    return path


def plainly(network, tokenizer, prompt):
    """Greedy decoding without a cache, a token at a time."""
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    start = ids.shape[1]
    for _ in range(NEW_TOKENS):
        with torch.inference_mode():
            best = network(input_ids=ids).logits[0, -1].argmax()
        ids = torch.cat([ids, best.reshape(1, 1)], dim=1)
        if best == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_greedy_continuations(tmp_path, probes, tiny_base, base_folder, mixed_pool):
    path = generate(tmp_path / "a.jsonl", probes, tiny_base, mixed_pool)
    rows = read_jsonl(path)
    assert [(r["model"], r["probe"]) for r in rows] == [
        (name, i) for name in sorted(mixed_pool) for i in range(3)
    ]
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    for row in rows:
        folder = mixed_pool[row["model"]][0].parent
        if row["model"] == "full":
            network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        else:
            network = PeftModel.from_pretrained(load(base_folder), folder).eval()
        assert row["text"] == plainly(network, tokenizer, read_probes(probes)[row["probe"]])
    assert len({row["text"] for row in rows}) > 4


def test_the_order_of_models_changes_no_byte(tmp_path, probes, tiny_base, mixed_pool):
    one = generate(tmp_path / "a", probes, tiny_base, mixed_pool)
    other = generate(tmp_path / "b", probes, tiny_base, mixed_pool, sorted(mixed_pool)[::-1])
    assert one.read_bytes() == other.read_bytes()


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
