"""Where jobs run, and how their networks compute attention."""

from __future__ import annotations

import pytest
import torch

from atlas import device as devices
from atlas.errors import AtlasError
from atlas.job import execution
from atlas.networks.architectures import load
from atlas.networks.swap import load_base
from unit.conftest import TINY_BASE, make_base
from unit.training.test_fine_tuning import train

# Architectures that only have plain products: one is asked in vain, the other raises.
WITHOUT = {
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 4},
    "gemma2": {**TINY_BASE["random"]["config"], "head_dim": 4},
}
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def wanted(monkeypatch):
    """Set what the configuration wants."""
    monkeypatch.setattr(devices, "_attentions", set())
    return lambda name: monkeypatch.setenv("DELTA_ATLAS_ATTENTION", name)


def test_attention_is_as_wanted(wanted, monkeypatch):
    assert devices.attention("float32", CPU) is None
    for name in ("sdpa", "eager"):
        wanted(name)
        assert devices.attention("float32", CPU) == name
    wanted("flash_attention_2")
    monkeypatch.setattr(devices, "find_spec", lambda name: name == "flash_attn")
    assert devices.attention("bfloat16", GPU) == "flash_attention_2"


def test_flash_attention_that_cannot_be_had(wanted, monkeypatch, base_folder):
    wanted("flash_attention_2")
    with pytest.raises(AtlasError, match="attention is flash_attention_2, and the job runs on a C"):
        load_base(base_folder, "bfloat16", CPU)
    with pytest.raises(AtlasError, match="which has no float32"):
        devices.attention("float32", GPU)
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(AtlasError, match="flash-attn is not installed"):
        devices.attention("bfloat16", GPU)


def test_networks_compute_as_wanted_and_statements_say_so(wanted, base_folder):
    ids = torch.tensor([[5, 80, 33, 12, 200]])
    assert execution._device() == {"device": "cpu"}
    found = {}
    for name in ("auto", "sdpa", "eager"):
        wanted(name)
        network = load_base(base_folder, "float32", CPU)
        assert network.config._attn_implementation == {"auto": "sdpa"}.get(name, name)
        with torch.inference_mode():
            found[name] = network(ids).logits
        if name == "sdpa":
            assert execution._device() == {"device": "cpu", "attention": "sdpa"}
    assert execution._device() == {"device": "cpu", "attention": "eager, sdpa"}
    torch.testing.assert_close(found["eager"], found["sdpa"], rtol=0, atol=1e-6)
    assert torch.equal(found["auto"], found["sdpa"])


def test_trainings_compute_as_wanted(wanted, tiny_base, tmp_path):
    wanted("eager")
    train(tmp_path, tiny_base, max_steps=1)
    assert devices.attention_used() == "eager"


@pytest.mark.parametrize("architecture", WITHOUT)
def test_an_architecture_without_that_attention(wanted, tmp_path, architecture):
    source = {"architecture": architecture, "seed": 1, "config": WITHOUT[architecture]}
    base = make_base(tmp_path / "base", {"random": source})
    wanted("auto")
    assert load(base[0].parent, "float32", CPU).config._attn_implementation == "eager"
    wanted("sdpa")
    with pytest.raises(AtlasError, match=r"attention is sdpa, which .* cannot use .*set attention"):
        load(base[0].parent, "float32", CPU)
