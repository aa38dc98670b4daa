from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from atlas.activations import continuations as module
from atlas.activations.continuations import Continuations
from atlas.activations.feature_files import FEATURES
from atlas.activations.features import on_probes
from atlas.activations.last_tokens import Probe, compute_shard
from atlas.errors import AtlasError
from atlas.networks.tokens import batches
from unit.activations.feature_world import compute, stored
from unit.conftest import load, read_activations

CLOSE = {"rtol": 0, "atol": 2e-5}


def plainly(network, folder, prompts, rows):
    """One text at a time, without padding, cache or batches."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = {key: [] for key in FEATURES}
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.inference_mode():
            output = network(input_ids=ids, output_hidden_states=True)
        states = [state[0].numpy() for state in output.hidden_states]
        found["layers"].append([state[-1] for state in states])
        found["weighted"].append(
            np.average(states[-1], axis=0, weights=np.arange(1, ids.shape[1] + 1))
        )
        found["logits"].append(output.logits[0, -1].numpy())
    for row in rows:
        before = tokenizer(prompts[row["probe"]]).input_ids
        after = tokenizer(row["text"], add_special_tokens=False).input_ids
        with torch.inference_mode():
            logits = network(input_ids=torch.tensor([before + after])).logits[0]
        loss = torch.nn.functional.cross_entropy(
            logits[len(before) - 1 : -1], torch.tensor(after)
        )  # fmt: skip
        found["meaning"].append(-float(loss))
    found["layers"] = np.swapaxes(found["layers"], 0, 1)
    return {key: np.array(value, dtype=np.float32) for key, value in found.items()}


def test_every_feature_as_a_plain_computation_finds_it(world):
    shapes = {"tiny": ((3, 3, 16), (3, 16), (3, 260), (12,)),
              "gemma": ((4, 3, 12), (3, 12), (3, 410), (12,))}  # fmt: skip
    places = [(f"bases/{b}", b, None) for b in shapes]
    places += [(f"models/{m['name']}", m["base"], m["name"]) for m in world.models]
    for place, base, name in places:
        folder = world.base_folders[base]
        if name == "full":
            network = AutoModelForCausalLM.from_pretrained(
                world.pool[name][0].parent, dtype=torch.float32
            ).eval()
        else:
            network = load(folder)
            if name:
                network = PeftModel.from_pretrained(network, world.pool[name][0].parent).eval()
        expected = plainly(network, folder, world.prompts, world.rows)
        found = stored(world.file, place)
        for key, shape in zip(FEATURES, shapes[base], strict=True):
            assert (found[key].shape, found[key].dtype) == (shape, np.float32)
            np.testing.assert_allclose(found[key], expected[key], err_msg=f"{place} {key}", **CLOSE)
            if name:
                original = stored(world.file, f"bases/{base}")[key]
                assert np.abs(found[key] - original).max() > 1e-3, key


def test_features_layer_by_layer(world, tmp_path, monkeypatch):
    monkeypatch.setenv("DELTA_ATLAS_STREAM", "always")
    path = compute(world, tmp_path / "f.h5")
    places = [f"bases/{b}" for b in ("tiny", "gemma")]
    for place in [*places, *(f"models/{m['name']}" for m in world.models)]:
        whole, read = stored(world.file, place), stored(path, place)
        for key in FEATURES:
            np.testing.assert_allclose(read[key], whole[key], err_msg=f"{place} {key}", **CLOSE)


def test_the_last_layer_is_what_activations_hold(world, tmp_path):
    models = world.models
    compute_shard(
        probes=world.probes, bases=world.bases, weights=[f for p in world.pool.values() for f in p],
        models=models, dtypes={"tiny": "float32", "gemma": "float32"},
        base_names={"tiny": ["tiny"], "gemma": ["gemma"]}, activations=tmp_path / "a.h5",
    )  # fmt: skip
    _, bases, found = read_activations(tmp_path / "a.h5")
    for place, arrays in (("bases", bases), ("models", found)):
        for name, array in arrays.items():
            layers = stored(world.file, f"{place}/{name}")["layers"]
            np.testing.assert_array_equal(layers[-1], array, err_msg=name)


def test_the_weighted_mean_by_hand():
    """Tokens 1..n weigh 1/6, 2/6, 3/6 and 1/3, 2/3; padding weighs nothing."""

    def network(input_ids, logits_to_keep, **_):
        state = input_ids[..., None].float() * torch.tensor([1.0, -2.0])
        return SimpleNamespace(hidden_states=(state, state), logits=state[:, logits_to_keep])

    ids = torch.tensor([[6, 12, 18], [3, 9, 999]])
    probe = SimpleNamespace(ids=[0, 0], inputs=[([1, 0], ids, torch.tensor([2, 1]))])
    found = on_probes(network, probe, "x")
    np.testing.assert_allclose(found["weighted"][1], [14, -28], rtol=1e-6)
    np.testing.assert_allclose(found["weighted"][0], [7, -14], rtol=1e-6)
    assert found["layers"][1].tolist() == [[9, -18], [18, -36]]
    assert found["logits"].tolist() == [[9, -18], [18, -36]]


def test_batches_of_equal_length_give_the_same(world, monkeypatch):
    monkeypatch.setattr(
        "atlas.activations.last_tokens.batches", lambda lengths, exact: batches(lengths, False)
    )
    for base, folder in world.base_folders.items():
        network = load(folder)
        probe = Probe(folder, world.prompts, network)
        expected = stored(world.file, f"bases/{base}")
        for key, found in on_probes(network, probe, base).items():
            np.testing.assert_allclose(found, expected[key], err_msg=key, **CLOSE)
        continued = Continuations(folder, world.prompts, world.rows, network)
        continued._exact = False
        groups = [group for i in range(3) for group in continued._batches(i)]
        assert all(len({len(continued.ids[i]) for i in group}) == 1 for group in groups)
        found = continued.meaning(network, base)
        np.testing.assert_allclose(found, expected["meaning"], **CLOSE)
        # Neither is it of account how many run at a time.
        monkeypatch.setattr(module, "ROWS", 2)
        found = Continuations(folder, world.prompts, world.rows, network).meaning(network, base)
        np.testing.assert_allclose(found, expected["meaning"], **CLOSE)


def test_a_model_in_lower_precision(world, tmp_path):
    """The other branch: bfloat16, where only equal lengths share a batch."""
    models = [m for m in world.models if m["name"] == "lora4"]
    path = compute(world, tmp_path / "f.h5", models, bases=world.bases[:5], dtype="bfloat16")
    found, exact = stored(path, "models/lora4"), stored(world.file, "models/lora4")
    for key in FEATURES:
        np.testing.assert_allclose(found[key], exact[key], rtol=0, atol=0.1, err_msg=key)


def test_order_and_repetition_change_no_byte(world, tmp_path):
    again = compute(world, tmp_path / "again.h5", world.models[::-1])
    assert again.read_bytes() == world.file.read_bytes()
    alone = compute(world, tmp_path / "alone.h5", world.models[2:3])
    name = world.models[2]["name"]
    for key, array in stored(alone, f"models/{name}").items():
        np.testing.assert_array_equal(array, stored(world.file, f"models/{name}")[key])


def test_what_is_not_finite_stops(world, tmp_path):
    network = load(world.base_folders["tiny"])
    with torch.no_grad():
        network.lm_head.weight[7] = float("inf")
    probe = Probe(world.base_folders["tiny"], world.prompts, network)
    with pytest.raises(AtlasError, match="m: logits has NaN or Inf"):
        on_probes(network, probe, "m")
    continued = Continuations(world.base_folders["tiny"], world.prompts, world.rows, network)
    with pytest.raises(AtlasError, match="m: its log-probabilities have NaN or Inf"):
        continued.meaning(network, "m")
    wrong = [{"name": "g", "base": "tiny", "domain": "a"}]
    with pytest.raises(AtlasError, match=r"g: .* an adapter of another base"):
        compute(world, tmp_path / "f.h5", wrong)
