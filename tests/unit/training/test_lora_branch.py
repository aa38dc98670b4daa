from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from atlas.training.lora_branch import compute_in_place
from unit.conftest import load

TOKENS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])


def adapted(base_folder, dropout=0.0, dtype=torch.float32):
    """A base with a LoRA adapter whose B is not zero, as PEFT computes it."""
    targets = ["q_proj", "v_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=6, lora_dropout=dropout, target_modules=targets)
    torch.manual_seed(0)
    network = get_peft_model(load(base_folder).to(dtype), config)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return network.train()


def step(network, checkpointing=False):
    """Logits, and the gradient of each trained tensor."""
    if checkpointing:
        network.enable_input_require_grads()
        network.gradient_checkpointing_enable({"use_reentrant": False})
    torch.manual_seed(1)
    logits = network(TOKENS).logits
    logits.square().mean().backward()
    trained = {n: p.grad for n, p in network.named_parameters() if p.requires_grad}
    return logits.detach(), trained


def variants(network):
    return sum(len(getattr(module, "lora_variant", ())) for module in network.modules())


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_outputs_and_gradients_are_those_of_peft(base_folder, dropout, checkpointing):
    network = adapted(base_folder, dropout)
    compute_in_place(network)
    layers = network.config.num_hidden_layers
    assert variants(network) == 4 * layers
    logits, gradients = step(network, checkpointing)
    expected_logits, expected = step(adapted(base_folder, dropout))
    torch.testing.assert_close(logits, expected_logits, rtol=1e-5, atol=1e-6)
    assert len(gradients) == 8 * layers
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-7)


def test_without_its_adapter_the_network_is_the_base(base_folder):
    network = adapted(base_folder)
    compute_in_place(network)
    with network.disable_adapter(), torch.no_grad():
        assert torch.equal(network(TOKENS).logits, load(base_folder)(TOKENS).logits)


def test_mixed_precision_stays_as_it_is(base_folder):
    network = adapted(base_folder, dtype=torch.bfloat16)
    compute_in_place(network)
    assert variants(network) == 0
