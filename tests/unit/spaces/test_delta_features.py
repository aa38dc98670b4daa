"""The spaces that read features: delta logits, delta weighted, delta meaning."""

from __future__ import annotations

import numpy as np
import pytest
from peft import LoraConfig, get_peft_model

from atlas.clusters.layer_curves import layer_curves
from atlas.errors import AtlasError
from atlas.spaces import delta_logits, delta_meaning, delta_weighted
from atlas.spaces.embeddings import read_embeddings
from unit.activations.feature_world import compute, stored
from unit.conftest import described, load, make_full

EMBEDDINGS = {
    "delta_logits": delta_logits.embed, "delta_weighted": delta_weighted.embed,
    "delta_meaning": delta_meaning.embed,
}  # fmt: skip


def zero_lora(base, folder):
    """An adapter as PEFT creates it, which changes nothing."""
    get_peft_model(
        load(base), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    ).save_pretrained(folder)
    return [folder / "adapter_config.json", folder / "adapter_model.safetensors"]


def test_embeddings_are_means_over_probes_of_model_minus_its_own_base(world, tmp_path):
    models = world.models[3::-1]
    base = stored(world.file, "bases/tiny")
    for (space, embed), dimension in zip(EMBEDDINGS.items(), (260, 16, 12), strict=True):
        embed(features=[world.file], models=models, embeddings=tmp_path / "e.npz")
        found = read_embeddings(tmp_path / "e.npz")
        assert (found.space, found.dimension) == (space, dimension)
        assert (found.model_names, found.domains) == (
            ["full", "ia3", "lora8", "lora4"], ["b", "b", "a", "a"],
        )  # fmt: skip
        assert found.embeddings.dtype == np.float32
        key = space.removeprefix("delta_")
        for name, row in zip(found.model_names, found.embeddings, strict=True):
            expected = stored(world.file, f"models/{name}")[key] - base[key]
            expected = expected if key == "meaning" else expected.mean(axis=0)
            np.testing.assert_allclose(row, expected, rtol=0, atol=2e-6)


def test_only_delta_meaning_goes_across_architectures(world, tmp_path):
    reasons = {
        "delta_logits": "logits of 260 and 410",
        "delta_weighted": "activations of 12 and 16",
    }
    for space, embed in EMBEDDINGS.items():
        embed(features=[world.file], models=world.models, embeddings=tmp_path / "e.npz")
        found = read_embeddings(tmp_path / "e.npz")
        if space in reasons:
            assert (found.dimension, found.embeddings) == (0, None)
            assert found.reason == f"the models have {reasons[space]} dimensions"
            continue
        assert found.embeddings.shape == (5, 12)
        assert found.base_model == ["tiny"] * 4 + ["gemma"]
        expected = stored(world.file, "models/g")["meaning"]
        expected = expected - stored(world.file, "bases/gemma")["meaning"]
        np.testing.assert_allclose(found.embeddings[4], expected, atol=1e-6)
        assert np.abs(found.cosine_similarity()).max() == 1


def test_a_model_that_equals_its_base_is_exactly_zero_and_refused(world, tmp_path):
    tiny = world.base_folders["tiny"]
    load(tiny).save_pretrained(tmp_path / "copy")
    pool = {
        "same": zero_lora(tiny, tmp_path / "same"),
        "copy": [tmp_path / "copy" / n for n in ("config.json", "model.safetensors")],
        "other": make_full(tiny, tmp_path / "other", 8),
    }
    models = described(list(pool), domains=["a", "b", "b"])
    path = compute(world, tmp_path / "f.h5", models, pool, world.bases[:5])
    for embed in EMBEDDINGS.values():
        embed(features=[path], models=models, embeddings=tmp_path / "e.npz")
        found = read_embeddings(tmp_path / "e.npz")
        assert not found.embeddings[:2].any()
        assert found.embeddings[2].any()
        with pytest.raises(AtlasError, match="same, copy: the embedding is zero"):
            found.cosine_similarity()
    rows = layer_curves(features=[path], models=models)
    assert {row["reason"] for row in rows} == {"same does not differ from its base here"}
