"""Merged models against plain computations."""

import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas.digests import sha256_file, weights_digest
from atlas.files import read_json, write_json
from atlas.weights.tensor_kinds import kind
from atlas.weights.tensors import Weights
from unit.conftest import make_ia3, make_lora
from unit.deltas.instruction_models import (
    TIED,
    UNTIED,
    delta_of,
    family,
    files,
    merge,
    moved,
    record_base,
    tensors,
)


def load(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize("source", [UNTIED, TIED], ids=["untied", "tied"])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_folder_loads_as_it_stands(tmp_path, source, shards, dtype):
    base, instruct, model = family(tmp_path, source, dtype)
    delta = delta_of(base, instruct, tmp_path / "d", "float16")
    merged = merge(model, base, instruct, delta, tmp_path / "model+d", shards)
    ours, change = tensors(model), Weights([delta[0]])
    expected = {n: (w.float() + change[n].float()).to(w.dtype) for n, w in ours.items()}
    found = tensors(merged)
    assert set(found) == set(expected)
    assert all(torch.equal(found[n], expected[n]) for n in found)

    from transformers import AutoTokenizer

    network, plain = load(merged), load(model)
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(expected[name].float())
    ids = torch.tensor([[1, 70, 80, 90]])
    assert torch.equal(network(ids).logits, plain(ids).logits)
    tied = network.lm_head.weight.data_ptr() == network.model.embed_tokens.weight.data_ptr()
    assert tied == (source is TIED)
    assert network.config.eos_token_id == 3
    talk = [{"role": "user", "content": "hi"}]
    one, two = (AutoTokenizer.from_pretrained(f) for f in (merged, instruct))
    shown = one.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert shown == two.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert "hi" in shown


def test_generation_is_that_of_the_instruct_model(copied, tmp_path):
    base, instruct, model, delta = copied
    derived = merge(model, base, instruct, delta, tmp_path / "a")
    ids = torch.tensor([[1, 70, 80, 90]])
    found = load(derived)
    said = found.generate(ids, max_new_tokens=4, do_sample=False)
    assert found.generation_config.eos_token_id == 3
    without = shutil.copytree(derived, tmp_path / "without")
    (without / "generation_config.json").unlink()
    plain = load(without)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(found.generation_config, key) == getattr(plain.generation_config, key)
    assert torch.equal(said, plain.generate(ids, max_new_tokens=4, do_sample=False))
    settings = {"eos_token_id": [2, 3], "do_sample": True, "temperature": 0.6}
    record = read_json(base / "base.json")
    digest = weights_digest(files(instruct))
    write_json(instruct / "base.json", {
        **record, "name": "instruct", "weights_sha256": digest, "generation": settings,
    })  # fmt: skip
    own = load(merge(model, base, instruct, delta, tmp_path / "b")).generation_config
    assert {key: getattr(own, key) for key in settings} == settings


def test_model_is_base_gives_the_instruct_model(models, tmp_path):
    base, instruct, _, delta = models
    merged = merge(base, base, instruct, delta, tmp_path / "m")
    found, wanted = tensors(merged), tensors(instruct)
    for name, value in found.items():
        assert torch.allclose(value, wanted[name], rtol=2.0**-23, atol=1e-9)
    assert read_json(merged / "config.json") == read_json(instruct / "config.json")


@pytest.mark.parametrize("older", [False, True])
def test_older_and_newer_keys_of_positions_agree(models, tmp_path, older):
    """Whichever of the two forms the instruct model's publisher wrote."""
    base, instruct, model, _ = models
    copy = tmp_path / "instruct"
    shutil.copytree(instruct, copy)
    settings = read_json(copy / "config.json")
    rope = {"rope_type": "linear", "factor": 4.0}
    if older:
        del settings["rope_parameters"]
        settings |= {"rope_theta": 777.0, "rope_scaling": rope}
    else:
        del settings["rope_theta"], settings["rope_scaling"]
        settings["rope_parameters"] = {**rope, "rope_theta": 777.0}
    write_json(copy / "config.json", settings)
    out = merge(model, base, copy, delta_of(base, copy, tmp_path / "d"), tmp_path / "m")
    found = read_json(out / "config.json")
    assert (found["rope_theta"], found["rope_scaling"]) == (777.0, rope)
    assert found.get("rope_parameters", rope | {"rope_theta": 777.0})["rope_theta"] == 777.0
    assert load(out).config.rope_parameters == rope | {"rope_theta": 777.0}


@pytest.mark.parametrize("way", [{"keep": 0.2}, {"rank": 2}])
def test_sparse_and_low_rank_deltas_are_applied(models, tmp_path, way):
    base, instruct, model, _ = models
    delta = delta_of(base, instruct, tmp_path / "d", "float32", **way)
    merged = tensors(merge(model, base, instruct, delta, tmp_path / "m"))
    stored, ours = Weights([delta[0]]), tensors(model)
    for name, value in merged.items():
        if f"{name}.lora_A" in stored:
            change = stored[f"{name}.lora_B"] @ stored[f"{name}.lora_A"]
        elif f"{name}.values" in stored:
            rows = stored[f"{name}.crow_indices"].diff().long()
            change = torch.zeros_like(value)
            at = torch.repeat_interleave(torch.arange(len(rows)), rows)
            change[at, stored[f"{name}.col_indices"].long()] = stored[f"{name}.values"]
        else:
            change = stored[name]
        assert torch.allclose(value, ours[name] + change, atol=1e-7), name


@pytest.mark.parametrize("kind", ["lora", "rslora", "ia3"])
@pytest.mark.parametrize("block", [64, 1 << 19])
def test_adapters_are_merged_as_peft_merges_them(models, tmp_path, monkeypatch, kind, block):
    from peft import PeftModel

    base, instruct, _, delta = models
    folder = tmp_path / "adapter"
    if kind == "ia3":
        make_ia3(base, folder, 5)
    else:
        make_lora(base, folder, 4, ["q_proj", "down_proj"], 5, use_rslora=kind == "rslora")
    record_base(folder, base)
    monkeypatch.setattr("atlas.weights.row_blocks.BLOCK", block)
    merged = tensors(merge(folder, base, instruct, delta, tmp_path / "m"))
    plain = PeftModel.from_pretrained(load(base), folder).merge_and_unload().state_dict()
    change = Weights([delta[0]])
    assert set(merged) == set(plain)
    for name, value in merged.items():
        assert torch.allclose(value, plain[name] + change[name], atol=2e-6, rtol=1e-5), name


@given(
    dtype=st.sampled_from(["float32", "float16", "bfloat16"]), seed=st.integers(0, 10**6),
    wanted=st.sampled_from(["float16", "float32", "model"]), shards=st.integers(1, 4),
)  # fmt: skip
def test_sums_are_rounded_once(tmp_path_factory, dtype, seed, wanted, shards):
    place = tmp_path_factory.mktemp("any")
    source = {"random": {"architecture": "llama", "seed": seed, "config": {
        "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1}}}  # fmt: skip
    base, instruct, model = family(place, source, dtype)
    delta = delta_of(base, instruct, place / "d", wanted)
    found, ours, change = (
        tensors(merge(model, base, instruct, delta, place / "m", shards)),
        tensors(model),
        Weights([delta[0]]),
    )
    for name, value in found.items():
        exact = ours[name].double() + change[name].double()
        size = exact.abs().clamp(min=torch.finfo(value.dtype).smallest_normal)
        unit = torch.exp2(size.log2().floor()) * torch.finfo(value.dtype).eps
        assert bool(((value.double() - exact).abs() <= unit * (0.5 + 2.0**-12)).all()), name


def test_bytes_digests_and_card(models, tmp_path):
    base, instruct, model, delta = models
    one, two = (merge(model, base, instruct, delta, tmp_path / n / "model+d", 2)
                for n in ("a", "b") if (tmp_path / n).mkdir() is None)  # fmt: skip
    for file in files(one):
        assert file.read_bytes() == (two / file.name).read_bytes()
    card = (one / "README.md").read_text()
    for digest in (
        weights_digest(files(base)), weights_digest(files(instruct)), weights_digest(files(model)),
        weights_digest(files(one)), sha256_file(delta[0]),
    ):  # fmt: skip
        assert digest in card
    assert "results/merged/model+d" in card
    assert "Warning" not in card


def test_a_model_of_a_model_of_the_base(models, tmp_path):
    base, instruct, model, delta = models
    between = shutil.copytree(model, tmp_path / "between")
    record = {**read_json(base / "base.json"), "name": "between"}
    digest = weights_digest(files(between))
    origin = {"model": "model", "base_sha256": record["weights_sha256"]}
    write_json(between / "base.json", {**record, "weights_sha256": digest, "origin": origin})
    last = moved(model, tmp_path / "last", 7, metadata={"base_sha256": digest})
    merge(last, base, instruct, delta, tmp_path / "m", model_base=between)
    adapter = tmp_path / "adapter"
    make_lora(between, adapter, 2, ["q_proj"], 5)
    record_base(adapter, between)
    merged = merge(adapter, base, instruct, delta, tmp_path / "n", model_base=between)
    name = "model.norm.weight"
    wanted = tensors(between)[name] + Weights([delta[0]])[name]
    assert torch.equal(tensors(merged)[name], wanted)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_sums_are_as_near_as_the_published_way_or_nearer(tmp_path, dtype):
    """Delta in float16 throughout, loaded whole, added in float32, rounded to the model's dtype."""
    base, instruct, model = family(tmp_path, dtype=dtype)
    exact = merge(model, base, instruct, delta_of(base, instruct, tmp_path / "e"), tmp_path / "m")
    short = delta_of(base, instruct, tmp_path / "d", "float16")
    found = tensors(merge(model, base, instruct, short, tmp_path / "n"))
    ours, theirs, whole, wide = (tensors(f) for f in (base, instruct, model, exact))
    for name, value in found.items():
        delta = theirs[name].float() - ours[name].float()
        if dtype == "float32":
            assert torch.equal(wide[name], whole[name] + delta), name
        published = (whole[name].float() + delta.half().float()).to(value.dtype)
        answer = whole[name].double() + (theirs[name].double() - ours[name].double())
        off, other = (float((x.double() - answer).norm()) for x in (value, published))
        assert off <= other * (1 + 1e-3), name
        if kind(name, value.shape) == "matrix":
            assert torch.equal(value, published), name
        half = torch.finfo(torch.float16)
        steps = [delta.double().abs().clamp(min=half.smallest_normal) * half.eps / 2,
                 answer.abs() * torch.finfo(value.dtype).eps]  # fmt: skip
        assert bool(((value.double() - answer).abs() <= sum(steps) + 1e-12).all()), name


@pytest.mark.parametrize("source", [UNTIED, TIED], ids=["untied", "tied"])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_merged_adapter_loads_as_it_stands(tmp_path, source, shards):
    from peft import PeftModel

    base, instruct, _ = family(tmp_path, source)
    adapter = tmp_path / "adapter"
    make_lora(base, adapter, 4, ["q_proj", "down_proj"], 5)
    record_base(adapter, base)
    delta = delta_of(base, instruct, tmp_path / "d")
    network = load(merge(adapter, base, instruct, delta, tmp_path / "adapter+d", shards))
    plain = PeftModel.from_pretrained(load(base), adapter).merge_and_unload()
    change = Weights([delta[0]])
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.add_(change[name])
        ids = torch.tensor([[1, 70, 80, 90]])
        assert torch.allclose(network(ids).logits, plain(ids).logits, atol=1e-5)
    assert (network.lm_head.weight.data_ptr() == network.model.embed_tokens.weight.data_ptr()) == (
        source is TIED
    )
