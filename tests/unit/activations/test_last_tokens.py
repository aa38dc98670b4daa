from __future__ import annotations

import itertools
import json
import shutil

import h5py
import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from atlas.activations import last_tokens
from atlas.activations.last_tokens import Probe, compute_shard
from atlas.activations.probes import read_probes
from atlas.errors import AtlasError
from atlas.networks.by_layer import Layers
from atlas.networks.shards import base_network
from atlas.networks.tokens import batches
from unit.conftest import LLAMA, load, make_base, make_lora, read_activations

ENCODER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
           "max_position_embeddings": 512}  # fmt: skip


def shard(path, probes, bases, pool, order=None, base_of=None, **more):
    names = list(order or pool)
    compute_shard(
        probes=probes, bases=bases, weights=[f for n in names for f in pool[n]],
        models=[{"name": n, "base": (base_of or {}).get(n, "tiny")} for n in names],
        dtypes={f.parent.name: "float32" for f in bases},
        base_names={f.parent.name: [f.parent.name] for f in bases}, activations=path, **more,
    )  # fmt: skip
    return path


def plainly(network, base_folder, prompts):
    """The published procedure: one prompt at a time, last of all hidden states, last token."""
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    rows = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.inference_mode():
            hidden = network(input_ids=ids, output_hidden_states=True).hidden_states
        rows.append(hidden[-1][0, -1].float().numpy())
    return np.stack(rows)


@pytest.fixture(scope="module")
def computed(tmp_path_factory, tiny_base, mixed_pool):
    folder = tmp_path_factory.mktemp("shard")
    (folder / "probes.txt").write_text("Describe it.\nBelow is an instruction.\nSay it.\n")
    return shard(folder / "a.h5", folder / "probes.txt", tiny_base, mixed_pool)


def test_probes_are_the_published_ones(probes):
    assert read_probes(probes) == [
        f"{opening}\n\n### Instruction:\nPlease provide a response. Input:Input.\n\n### Response:"
        for opening in ("Describe it.", "Below is an instruction.", "Say more about the task.")
    ]
    probes.write_text("\n \n")
    with pytest.raises(AtlasError, match="no probe openings"):
        read_probes(probes)


@pytest.mark.parametrize("said", [{"output_hidden_states": [7]}, {"output_hidden_states": "x"},
                                  {"return_dict": False}, {"output_attentions": True}])  # fmt: skip
def test_what_a_base_wants_to_tell_beside_changes_nothing(
    tmp_path, base_folder, tiny_base, probes, said
):
    for file in tiny_base:
        shutil.copy(file, tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | said))
    found = []
    for folder in (base_folder, tmp_path):
        network = base_network(folder, "float32", seq2seq=True)
        found.append(Probe(folder, read_probes(probes), network).last_token(network, "it"))
    np.testing.assert_allclose(*found, atol=1e-6)


def test_the_same_as_the_published_procedure(computed, base_folder, mixed_pool):
    prompts, bases, models = read_activations(computed)
    close = {"rtol": 0, "atol": 1e-5}
    expected = plainly(load(base_folder), base_folder, prompts)
    np.testing.assert_allclose(bases["tiny"], expected, **close)
    assert set(models) == set(mixed_pool)
    for name, files in mixed_pool.items():
        folder = files[0].parent
        if name == "full":
            network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        else:
            network = PeftModel.from_pretrained(load(base_folder), folder).eval()
        np.testing.assert_allclose(
            models[name], plainly(network, base_folder, prompts), err_msg=name, **close
        )
        assert np.abs(models[name] - bases["tiny"]).max() > 1e-3


def test_the_order_of_a_mixed_pool_changes_no_byte(
    computed, tiny_base, mixed_pool, probes, tmp_path
):
    probes.write_text("Describe it.\nBelow is an instruction.\nSay it.\n")
    orders = list(itertools.permutations(mixed_pool))
    for number in (5, 10, 17, 23):
        path = shard(tmp_path / f"{number}.h5", probes, tiny_base, mixed_pool, orders[number])
        assert path.read_bytes() == computed.read_bytes()


def test_a_model_computes_the_same_alone(computed, tiny_base, mixed_pool, tmp_path, probes):
    probes.write_text("Describe it.\nBelow is an instruction.\nSay it.\n")
    _, _, together = read_activations(computed)
    for name in mixed_pool:
        alone = shard(tmp_path / f"{name}.h5", probes, tiny_base, mixed_pool, [name])
        assert np.array_equal(read_activations(alone)[2][name], together[name])


def test_layer_by_layer(computed, tiny_base, mixed_pool, tmp_path, probes, monkeypatch):
    probes.write_text("Describe it.\nBelow is an instruction.\nSay it.\n")
    monkeypatch.setenv("DELTA_ATLAS_STREAM", "always")
    paths = [
        shard(tmp_path / f"{i}.h5", probes, tiny_base, mixed_pool, order)
        for i, order in enumerate((list(mixed_pool), list(mixed_pool)[::-1]))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    expected, found = read_activations(computed), read_activations(paths[0])
    for whole, read in zip(expected[1:], found[1:], strict=True):
        assert whole.keys() == read.keys()
        for name, array in whole.items():
            np.testing.assert_allclose(read[name], array, rtol=0, atol=1e-6, err_msg=name)


def test_batches_of_equal_length_give_the_same(computed, base_folder, monkeypatch):
    prompts, bases, _ = read_activations(computed)
    monkeypatch.setattr(
        "atlas.activations.last_tokens.batches", lambda lengths, exact: batches(lengths, False)
    )
    network = load(base_folder)
    probe = Probe(base_folder, prompts, network)
    assert len(probe.inputs) == 3
    np.testing.assert_allclose(probe.last_token(network, "x"), bases["tiny"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{"architecture": "roberta", "config": ENCODER}, {"architecture": "megatron-bert", "config": ENCODER},
     {"architecture": "llama", "config": LLAMA | {"is_causal": False}}],
    ids=str,
)  # fmt: skip
def test_a_network_whose_tokens_see_later_ones_sees_no_padding(settings, tmp_path, monkeypatch):
    folder = make_base(tmp_path / "seeing", {"random": {"seed": 3, **settings}})[0].parent
    monkeypatch.setattr(last_tokens, "SMALL", 0)
    network = load(folder)
    prompts = ["Say.", "Say it in other words."]
    found = Probe(folder, prompts, network).last_token(network, "base")
    np.testing.assert_allclose(found, plainly(network, folder, prompts), rtol=0, atol=1e-6)


def test_a_full_model_whose_tokens_see_later_ones(tmp_path, monkeypatch):
    """Its base is causal, and its probes run as one batch."""
    folder = make_base(tmp_path / "base")[0].parent
    monkeypatch.setattr(last_tokens, "SMALL", 0)
    prompts = ["Say.", "Say it in other words."]
    probe = Probe(folder, prompts, load(folder))
    assert len(probe.inputs) == 1
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"is_causal": False}))
    seeing = load(folder)
    expected = plainly(seeing, folder, prompts)
    np.testing.assert_allclose(probe.last_token(seeing, "m"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("by_layer", [False, True])
def test_a_vocabulary_that_was_cut_down(base_folder, tmp_path, by_layer):
    """Of its weights, what stands behind the embeddings would be read for those of a token."""
    network = load(base_folder)
    probe = Probe(base_folder, ["Say it."], network)
    network.resize_token_embeddings(60)
    network.save_pretrained(tmp_path)
    if by_layer:
        network = Layers(tmp_path, "float32", torch.device("cpu")).base()
    with pytest.raises(AtlasError, match=r"m: has 60 tokens, and the probes have the token \d+ of"):
        probe.last_token(network, "m")


def test_two_bases_in_one_pool(tiny_base, mixed_pool, probes, tmp_path):
    source = {"random": {"architecture": "llama", "seed": 9, "config": {
        "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2}}}  # fmt: skip
    other = make_base(tmp_path / "other", source)
    pool = {"x": make_lora(tmp_path / "other", tmp_path / "x", 2, ["q_proj"], 1),
            "lora4": mixed_pool["lora4"]}  # fmt: skip
    path = shard(tmp_path / "a.h5", probes, [*tiny_base, *other], pool, base_of={"x": "other"})
    prompts, bases, models = read_activations(path)
    assert {name: array.shape for name, array in (bases | models).items()} == {
        "tiny": (3, 16), "lora4": (3, 16), "other": (3, 8), "x": (3, 8),
    }  # fmt: skip
    expected = plainly(
        PeftModel.from_pretrained(load(tmp_path / "other"), tmp_path / "x").eval(),
        tmp_path / "other", prompts,
    )  # fmt: skip
    np.testing.assert_allclose(models["x"], expected, rtol=0, atol=1e-5)


def test_an_adapter_of_another_base_stops(tiny_base, mixed_pool, probes, tmp_path):
    folder = tmp_path / "lora4"
    folder.mkdir()
    config, weights = mixed_pool["lora4"]
    settings = {**json.loads(config.read_text()), "base_model_name_or_path": "org/other"}
    (folder / config.name).write_text(json.dumps(settings))
    (folder / weights.name).write_bytes(weights.read_bytes())
    with pytest.raises(AtlasError, match="lora4: records the base org/other"):
        shard(tmp_path / "a.h5", probes, tiny_base, {"lora4": list(folder.iterdir())})
    assert not (tmp_path / "a.h5").exists()


def test_activations_that_are_not_finite_stop(base_folder, probes):
    network = load(base_folder)
    with torch.no_grad():
        network.model.norm.weight[0] = float("inf")
    probe = Probe(base_folder, read_probes(probes), network)
    with pytest.raises(AtlasError, match="m: its activations have NaN or Inf"):
        probe.last_token(network, "m")


def test_the_file_as_others_read_it(computed):
    with h5py.File(computed) as file:
        item = file["models/lora4/last_token"]
        assert item.shape == (3, 16)
        assert item.dtype == np.float32
        assert item.compression == "gzip"
        assert file["probes"].asstr()[0].startswith("Describe it.\n\n### Instruction:")
        assert list(file["bases"]) == ["tiny"]
