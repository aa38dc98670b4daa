from __future__ import annotations

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from atlas.errors import AtlasError
from atlas.networks.full_models import FullModel, full_applied
from atlas.networks.swap import adapter_applied, load_base
from atlas.weights.adapters import load_adapter
from unit.conftest import make_base, make_full, make_lora
from unit.sources.test_bases import TIED

IDS = torch.tensor([[5, 80, 33, 12, 200], [9, 8, 7, 6, 5]])


def logits(network):
    with torch.inference_mode():
        return network(input_ids=IDS).logits


@pytest.fixture
def network(base_folder):
    return load_base(base_folder, "float32", torch.device("cpu"))


def state(network):
    hooks = sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()
    )  # fmt: skip
    pointers = {name: p.data_ptr() for name, p in network.named_parameters()}
    return hooks, pointers, {k: v.clone() for k, v in network.state_dict().items()}


def assert_untouched(network, before):
    hooks, pointers, tensors = state(network)
    assert (hooks, pointers) == before[:2]
    assert all(torch.equal(tensors[name], before[2][name]) for name in tensors)


def test_a_base_is_ready_to_be_read(network):
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("name", ["lora4", "lora8", "ia3"])
def test_an_adapter_acts_as_in_peft(network, base_folder, mixed_pool, name):
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
    reference = logits(PeftModel.from_pretrained(base, mixed_pool[name][0].parent).eval())
    before, plain = state(network), logits(network)
    with adapter_applied(network, load_adapter(mixed_pool[name])):
        found = logits(network)
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-5)
    assert (found - plain).abs().max() > 1e-3
    assert_untouched(network, before)
    assert torch.equal(logits(network), plain)


def test_a_full_model_acts_as_itself(network, mixed_pool):
    folder = mixed_pool["full"][0].parent
    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    before = state(network)
    with full_applied(network, FullModel("full", folder)) as model:
        assert torch.equal(logits(model), logits(reference))
    assert_untouched(network, before)


def test_a_full_model_with_tied_weights(tmp_path):
    make_base(tmp_path / "tied", TIED)
    files = make_full(tmp_path / "tied", tmp_path / "full", 3)
    network = load_base(tmp_path / "tied", "float32", torch.device("cpu"))
    reference = AutoModelForCausalLM.from_pretrained(tmp_path / "full", dtype=torch.float32).eval()
    before, plain = state(network), logits(network)
    with full_applied(network, FullModel("full", files[0].parent)) as model:
        assert torch.equal(logits(model), logits(reference))
    assert_untouched(network, before)
    assert torch.equal(logits(network), plain)


def test_nothing_stays_after_an_error(network, mixed_pool):
    before = state(network)
    with (
        pytest.raises(RuntimeError, match="stop"),
        adapter_applied(network, load_adapter(mixed_pool["ia3"])),
    ):
        raise RuntimeError("stop")
    assert_untouched(network, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("model.norm.weight"), "m: has no tensor model.norm.weight, which"),
        (lambda t: t.update(extra=torch.ones(1)), "m: has a tensor extra, for which"),
        (lambda t: t.update({"model.norm.weight": torch.ones(3)}), r"m: .*model.norm.weight"),
        (lambda t: t["lm_head.weight"].fill_(float("nan")), "lm_head.weight has NaN"),
    ],
)  # fmt: skip
def test_weights_of_another_model(network, mixed_pool, tmp_path, change, message):
    tensors = load_file(mixed_pool["full"][1])
    change(tensors)
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.json").write_bytes(mixed_pool["full"][0].read_bytes())
    save_file(tensors, tmp_path / "m/model.safetensors", {"format": "pt"})
    before = state(network)
    with (
        pytest.raises(AtlasError, match=message),
        full_applied(network, FullModel("m", tmp_path / "m")),
    ):
        pass
    assert_untouched(network, before)


def test_an_adapter_of_another_base(network, tmp_path):
    config = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
              "num_attention_heads": 2, "num_key_value_heads": 2}  # fmt: skip
    make_base(tmp_path / "b", {"random": {"architecture": "llama", "seed": 0, "config": config}})
    adapter = load_adapter(make_lora(tmp_path / "b", tmp_path / "m", 2, ["q_proj"], 1))
    with (
        pytest.raises(AtlasError, match=r"m: .*q_proj is made for a matrix of shape .8, 8."),
        adapter_applied(network, adapter),
    ):
        pass


def test_low_precision_stays_close_to_peft(base_folder, mixed_pool):
    network = load_base(base_folder, "bfloat16", torch.device("cpu"))
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.bfloat16)
    reference = PeftModel.from_pretrained(base, mixed_pool["lora8"][0].parent).eval()
    with adapter_applied(network, load_adapter(mixed_pool["lora8"])):
        torch.testing.assert_close(logits(network), logits(reference), rtol=0.05, atol=0.02)
