from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics.pairwise import cosine_similarity

from atlas.spaces import flattened_weights
from atlas.spaces.embeddings import read_embeddings
from unit.conftest import LLAMA, described, make_base, make_full


def embedded(tmp_path, pool, order=None, bases=()):
    flattened_weights.embed(
        bases=list(bases), weights=[f for files in pool.values() for f in files],
        models=described(order or list(pool)), embeddings=tmp_path / "e.npz",
    )  # fmt: skip
    return read_embeddings(tmp_path / "e.npz")


@pytest.mark.parametrize("block", [1 << 24, 7])
def test_cosine_of_concatenated_tensors(tmp_path, lora_pool, monkeypatch, block):
    monkeypatch.setattr(flattened_weights, "BLOCK", block)
    found = embedded(tmp_path, lora_pool)
    long = []
    for files in lora_pool.values():
        tensors = load_file(files[1])
        long.append(np.concatenate([tensors[n].ravel() for n in sorted(tensors)]))
    np.testing.assert_allclose(found.similarity, cosine_similarity(long), atol=1e-6)
    assert found.dimension == len(long[0])


def test_the_order_of_models_is_that_of_the_rows(tmp_path, lora_pool):
    found = embedded(tmp_path, lora_pool)
    turned = embedded(tmp_path, lora_pool, list(lora_pool)[::-1])
    np.testing.assert_allclose(turned.similarity, found.similarity[::-1, ::-1], atol=1e-12)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("lora4", "lora8"), "lora8 and lora4 have adapters of different shapes"),
        (("lora4", "ia3"), "ia3 and lora4 have adapters of different shapes"),
        (("lora4", "full"), "full is a full model, and others are adapters"),
    ],
)
def test_no_common_dimension(tmp_path, mixed_pool, names, reason):
    found = embedded(tmp_path, {name: mixed_pool[name] for name in names})
    assert found.similarity is None
    assert found.dimension == 0
    assert reason in found.reason


def test_full_models_count_by_what_they_changed(tmp_path, tiny_base, base_folder):
    pool = {f"full{i}": make_full(base_folder, tmp_path / f"full{i}", 7 + i) for i in range(3)}
    found = embedded(tmp_path, pool, bases=tiny_base)
    base = load_file(base_folder / "model.safetensors")
    long = []
    for files in pool.values():
        tensors = load_file(files[1])
        long.append(np.concatenate([(tensors[n] - base[n]).ravel() for n in sorted(base)]))
    np.testing.assert_allclose(found.similarity, cosine_similarity(long), atol=1e-5)
    assert abs(found.similarity[0, 1]) < 0.2  # as plain weights they would be one direction
    assert found.dimension == sum(t.size for t in base.values())


def test_full_models_of_two_shapes(tmp_path, tiny_base, base_folder):
    other = make_base(tmp_path / "other", {"random": {
        "architecture": "llama", "seed": 3, "config": {**LLAMA, "intermediate_size": 8}}})  # fmt: skip
    pool = {"a": make_full(base_folder, tmp_path / "a", 1),
            "b": make_full(other[0].parent, tmp_path / "b", 2)}  # fmt: skip
    for order, reason in ((["a", "b"], "b and a have weights of different shapes"),
                          (["b", "a"], "b and its base have weights of different shapes")):  # fmt: skip
        assert embedded(tmp_path, pool, order, bases=tiny_base).reason == reason
