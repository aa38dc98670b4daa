"""Composition: PEFT's tensors, summed as LoraHub's authors sum them; PEFT's merges, by their formulas."""

import numpy as np
import pytest
import torch
from peft import PeftModel

from atlas.errors import AtlasError
from atlas.networks.swap import adapter_applied
from atlas.selection.composition import aligned, composed, merged_by_peft, state
from atlas.weights.adapters import load_adapter, write_adapter
from unit.conftest import load, make_lora
from unit.selection.published_lorahub import adapters_of, composed_of

WEIGHTS = [0.7, -1.2, 0.05, 1.5]


@pytest.fixture(scope="module")
def adapters(lora_pool):
    return [load_adapter(files) for files in lora_pool.values()]


def folders(pool):
    return [files[0].parent for files in pool.values()]


def deltas(adapter):
    return {name: module.delta(None) for name, module in adapter.modules.items()}


def test_weights_are_those_of_the_published_composition(adapters, lora_pool, base_folder):
    states = adapters_of(lambda: load(base_folder), folders(lora_pool))
    expected = composed_of(WEIGHTS, states)
    found = state(composed(aligned(adapters), WEIGHTS))
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_the_composition_is_not_the_sum_of_products(adapters):
    found = deltas(composed(aligned(adapters), WEIGHTS))
    products = [deltas(adapter) for adapter in adapters]
    for name, delta in found.items():
        total = sum(w * p[name] for w, p in zip(WEIGHTS, products, strict=True))
        assert not torch.allclose(delta, total, atol=1e-3)


def test_peft_loads_what_is_written(adapters, base_folder, tmp_path):
    found = composed(aligned(adapters), WEIGHTS)
    write_adapter(tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json",
                  state(found), found.config, {})  # fmt: skip
    ids = torch.tensor([[5, 9, 40, 7]])
    network = load(base_folder)
    with torch.inference_mode():
        expected = PeftModel.from_pretrained(load(base_folder), tmp_path)(ids).logits
        with adapter_applied(network, found):
            ours = network(ids).logits
    assert torch.allclose(ours, expected, atol=1e-5)


@pytest.fixture(scope="module")
def uneven(base_folder, tmp_path_factory):
    """Adapters of two ranks, three scales and two sets of modules."""
    folder = tmp_path_factory.mktemp("uneven")
    return [
        load_adapter(make_lora(base_folder, folder / "a", 4, ["q_proj", "v_proj"], 1, alpha=16)),
        load_adapter(make_lora(base_folder, folder / "b", 8, ["q_proj", "v_proj"], 2, alpha=16)),
        load_adapter(make_lora(base_folder, folder / "c", 2, ["q_proj", "up_proj"], 3, alpha=3)),
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_ranks_scales_and_modules_are_padded_so_that_each_model_stays_itself(uneven, which):
    parts = aligned(uneven)
    assert (parts.rank, parts.scale) == (8, 4.0)
    one = deltas(composed(parts, np.eye(3)[which].tolist()))
    own = deltas(uneven[which])
    for name, delta in one.items():
        assert torch.allclose(delta, own.get(name, torch.zeros_like(delta)), atol=1e-6), name


def test_padded_adapters_load_with_peft(uneven, base_folder, tmp_path):
    found = composed(aligned(uneven), [0.5, -0.3, 1.0])
    write_adapter(tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json",
                  state(found), found.config, {})  # fmt: skip
    again = load_adapter([tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"])
    expected, ours = deltas(found), deltas(again)
    assert set(ours) == set(expected)
    PeftModel.from_pretrained(load(base_folder), tmp_path)
    for name in expected:
        assert torch.allclose(ours[name], expected[name], atol=1e-6)


def test_the_average_is_the_mean_of_the_differences(uneven, base_folder):
    network = load(base_folder)
    found = deltas(merged_by_peft(network, aligned(uneven), "average", density=0.2, seed=1))
    own = [deltas(adapter) for adapter in uneven]
    for name, delta in found.items():
        total = sum(p[name] for p in own if name in p) / 3
        assert torch.allclose(delta, total, atol=1e-5), name


def test_ties_keeps_the_largest_and_the_agreed_sign(adapters, base_folder):
    parts = aligned(adapters)
    found = merged_by_peft(load(base_folder), parts, "ties", density=0.2, seed=1)
    name = next(iter(parts.a))
    # Each model's largest fifth, the sign of their total, the mean of those that have it.
    values = parts.a[name] * parts.scale**0.5
    kept = torch.zeros_like(values)
    for i, tensor in enumerate(values):
        top = tensor.abs().flatten().topk(int(0.2 * tensor.numel())).indices
        kept[i].view(-1)[top] = tensor.flatten()[top]
    sign = torch.where(kept.sum(0) >= 0, 1, -1)
    agreed = torch.where(kept.sign() == sign, kept, torch.zeros_like(kept))
    count = (agreed != 0).sum(0).clamp(min=1)
    module = found.modules[name]
    expected = agreed.sum(0) / count
    assert torch.allclose(module.a, expected, atol=1e-5)


def test_dare_is_drawn_by_the_seed_and_keeps_its_share(adapters, base_folder):
    network, parts = load(base_folder), aligned(adapters[:2])
    draws = [merged_by_peft(network, parts, "dare", density=0.2, seed=s) for s in (1, 1, 2)]
    tensors = [state(draw) for draw in draws]
    assert all(torch.equal(tensors[0][k], tensors[1][k]) for k in tensors[0])
    assert any(not torch.equal(tensors[0][k], tensors[2][k]) for k in tensors[0])
    kept = torch.cat([t.flatten() != 0 for t in tensors[0].values()]).float().mean()
    assert 0.28 < kept < 0.44  # an element is dropped by both with probability .8 times .8


def test_a_merge_leaves_the_base_and_the_random_state_as_they_were(adapters, base_folder):
    network = load(base_folder)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    drawn = torch.get_rng_state()
    for method in ("average", "ties", "dare"):
        merged_by_peft(network, aligned(adapters), method, density=0.2, seed=3)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert torch.equal(torch.get_rng_state(), drawn)


def test_ia3_is_refused(mixed_pool, adapters):
    with pytest.raises(AtlasError, match="LoRA adapters are composed, and this one is IA3"):
        aligned([adapters[0], load_adapter(mixed_pool["ia3"])])


def test_weights_must_fit(adapters):
    with pytest.raises(AtlasError, match="2 weights do not fit 4 adapters"):
        composed(aligned(adapters), [1.0, 2.0])
