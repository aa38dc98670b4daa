"""Merged models against plain computations, and what is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas.digests import sha256_file, weights_digest
from atlas.errors import AtlasError
from atlas.files import read_json, write_json
from atlas.weights.tensor_kinds import kind
from atlas.weights.tensors import Weights, write_safetensors
from unit.conftest import make_base, make_ia3, make_lora
from unit.deltas.instruction_models import (
    TIED,
    UNTIED,
    delta_of,
    family,
    files,
    merge,
    moved,
    tensors,
    write,
)

Q = "model.layers.0.self_attn.q_proj.weight"
SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Base, instruct model, model and delta."""
    place = tmp_path_factory.mktemp("family")
    found = family(place)
    return *found, delta_of(*found[:2], place / "delta")


@pytest.fixture
def copied(models, tmp_path):
    """The same, for tests that change them."""
    base, instruct, model = (shutil.copytree(p, tmp_path / p.name) for p in models[:3])
    place = shutil.copytree(models[3][0].parent, tmp_path / "delta")
    return base, instruct, model, (place / "delta.safetensors", place / "delta_meta.json")


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


def record_base(folder, base):
    """Record the digest of a base in an adapter, as training does."""
    file = folder / "adapter_model.safetensors"
    store = Weights([file])
    weights = {name: store[name].clone() for name in store}
    digest = read_json(base / "base.json")["weights_sha256"]
    write_safetensors(file, weights, {"format": "pt", "base_sha256": digest})


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


def refused(models, out, sentence, model=None, **more):
    base, instruct, own, delta = models
    with pytest.raises(AtlasError, match=sentence) as error:
        merge(model or own, base, instruct, delta, out, **more)
    assert str(error.value).rstrip(".").count(". ") == 0
    assert list(out.iterdir()) == []


def test_another_base_is_refused(models, tmp_path):
    base = models[0]
    other = make_base(tmp_path / "other", {"random": {**UNTIED["random"], "seed": 9}})[0].parent
    digest = weights_digest(files(other))
    stranger = moved(other, tmp_path / "stranger", 1, metadata={"base_sha256": digest})
    sentence = rf"stranger: was trained from a base with the digest {digest[:12]}"
    for force in (False, True):
        refused(models, tmp_path / "m", sentence, stranger, force=force)
    adapter = tmp_path / "adapter"
    make_lora(other, adapter, 2, ["q_proj"], 5)
    record_base(adapter, other)
    refused(models, tmp_path / "m", r"adapter: was trained from a base", adapter)
    refused(models, tmp_path / "m", r"adapter: was trained from a base", adapter, model_base=other)
    record_base(adapter, base)
    merge(adapter, base, models[1], models[3], tmp_path / "m2")


def test_without_a_record_the_distance_decides(models, tmp_path):
    base, instruct, _, delta = models
    near = moved(base, tmp_path / "near", 1)
    assert (
        "Warning"
        not in (merge(near, base, instruct, delta, tmp_path / "m") / "README.md").read_text()
    )
    other = make_base(tmp_path / "other", {"random": {**UNTIED["random"], "seed": 9}})[0].parent
    far = moved(other, tmp_path / "far", 1)
    refused(
        models, tmp_path / "n", r"records no base, and its weights are 1\.\d\d of their norm", far
    )
    card = (merge(far, base, instruct, delta, tmp_path / "o", force=True) / "README.md").read_text()
    assert re.search(r"Warning: this model records no base, and its weights are 1\.\d\d", card)
    refused((other, *models[1:]), tmp_path / "p", r"is not the base that the delta", near)


def test_an_adapter_without_a_record_needs_force(models, tmp_path):
    base, instruct, _, delta = models
    adapter = tmp_path / "adapter"
    make_lora(base, adapter, 2, ["q_proj"], 5)
    refused(models, tmp_path / "m", r"records no base, and it is an adapter", adapter)
    card = (
        merge(adapter, base, instruct, delta, tmp_path / "n", force=True) / "README.md"
    ).read_text()
    assert "Warning: this model records no base" in card
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps({**read_json(config), "base_model_name_or_path": "some/other"}))
    refused(models, tmp_path / "m", "records the base some/other", adapter)
    merge(adapter, base, instruct, delta, tmp_path / "o", names=["some/other"])


def test_an_adapter_with_nan_is_refused(models, tmp_path):
    base = models[0]
    adapter = tmp_path / "adapter"
    make_lora(base, adapter, 4, ["q_proj"], 5)
    store = Weights([adapter / "adapter_model.safetensors"])
    weights = {name: store[name].clone() for name in store}
    weights[next(n for n in weights if "lora_B" in n)][0] = torch.nan
    digest = read_json(base / "base.json")["weights_sha256"]
    write_safetensors(adapter / "adapter_model.safetensors", weights, {"base_sha256": digest})
    refused(models, tmp_path / "m", r"adapter: the tensor \S+lora_B\S* has NaN or Inf", adapter)


def test_an_adapter_of_another_rank_is_refused(models, tmp_path):
    base = models[0]
    adapter = tmp_path / "adapter"
    make_lora(base, adapter, 4, ["q_proj"], 5)
    record_base(adapter, base)
    config = adapter / "adapter_config.json"
    config.write_text(json.dumps({**read_json(config), "r": 8}))
    refused(models, tmp_path / "m", r"has the rank 4 .* configuration says 8", adapter)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda w: w.pop(Q), rf"model: has no tensor {Q}"),
        (lambda w: w.update(more=torch.ones(2)), r"model: has a tensor more"),
        (lambda w: w.update({Q: w[Q][:-1].clone()}), rf"model: {Q} has the shape \(15, 16\)"),
        (lambda w: w.update({Q.replace("q_", "x_"): w.pop(Q)}), rf"model: has no tensor {Q}"),
        (lambda w: w[Q].fill_(torch.nan), rf"model: the tensor {Q} has NaN or Inf"),
        (lambda w: w[Q].fill_(torch.inf), rf"model: the tensor {Q} has NaN or Inf"),
        (
            lambda w: w.update({"lm_head.weight": torch.ones(261, 16)}),
            r"model: the vocabularies differ: lm_head.weight has 261 rows",
        ),
    ],
)
def test_broken_models_are_refused(copied, tmp_path, change, sentence):
    base, _, model, _ = copied
    digest = read_json(base / "base.json")["weights_sha256"]
    weights = tensors(model)
    change(weights)
    write(model, weights, metadata={"base_sha256": digest})
    refused(copied, tmp_path / "m", sentence)
    refused(copied, tmp_path / "m3", sentence, shards=3)


def test_broken_files_are_refused(copied, tmp_path):
    model = copied[2]
    whole = tensors(model)
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    refused(copied, tmp_path / "m", "not a whole safetensors file")
    write(model, whole, 2)
    index = model / "model.safetensors.index.json"
    found = read_json(index)
    write_json(index, {**found, "weight_map": {**found["weight_map"], Q: "other.safetensors"}})
    refused(copied, tmp_path / "m", r"the index puts \S+q_proj.weight into other.safetensors")
    (model / "model-00002-of-00002.safetensors").unlink()
    refused(copied, tmp_path / "m", "the index puts")
    for old in model.glob("*.safetensors*"):
        old.unlink()
    torch.save(whole, model / "pytorch_model.bin")
    refused(copied, tmp_path / "m", "a pickle, which may run code")
    (model / "pytorch_model.bin").unlink()
    refused(copied, tmp_path / "m", "model: has no safetensors weights")


DESCRIPTIONS = {
    "no digest": lambda meta: meta.pop("delta_sha256"),
    "no base": lambda meta: meta.pop("base"),
    "a base without its digest": lambda meta: meta["base"].pop("weights_sha256"),
    "no tensors": lambda meta: meta.pop("tensors"),
    "a tensor without shape": lambda meta: meta["tensors"][Q].pop("shape"),
    "an unknown storage": lambda meta: meta["tensors"][Q].update(storage="zip"),
    "a list": lambda meta: meta.update(tensors=[1]),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_a_description_of_something_else_is_refused(copied, tmp_path, case):
    meta = read_json(copied[3][1])
    DESCRIPTIONS[case](meta)
    write_json(copied[3][1], meta)
    refused(copied, tmp_path / "m", r"delta_meta\.json: is not the description of a delta")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(delta_sha256="0" * 64), "is not the file that its delta_meta.json"),
        (lambda m: m["tensors"].pop(Q), rf"has a tensor {Q}, which its delta_meta\.json does not"),
        (lambda m: m["tensors"].update({Q + "x": m["tensors"][Q]}), rf"has no tensor {Q}x, which"),
        (lambda m: m["tensors"][Q].update(storage="sparse"), rf"has (no|a) tensor {Q}"),
        (lambda m: m["tensors"][Q].update(shape=[8, 32]), rf"the delta of {Q} does not have"),
        (lambda m: m["base"].update(weights_sha256="0" * 64), r"was trained from a base with the"),
    ],
)
def test_an_altered_description_is_refused(copied, tmp_path, change, sentence):
    meta = read_json(copied[3][1])
    change(meta)
    write_json(copied[3][1], meta)
    refused(copied, tmp_path / "m", sentence)


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


def test_overflow_of_a_sum_is_refused(tmp_path):
    base, instruct, model = family(tmp_path, dtype="float16")
    delta = delta_of(base, moved(base, tmp_path / "far", 1, change=lambda w: w[Q].fill_(6e4)),
                     tmp_path / "d", "float32")  # fmt: skip
    weights = tensors(model)
    weights[Q].fill_(6e4)
    digest = read_json(base / "base.json")["weights_sha256"]
    write(model, weights, metadata={"base_sha256": digest})
    refused(
        (base, instruct, model, delta), tmp_path / "m", rf"{Q} plus its delta overflows float16"
    )


def test_an_altered_delta_is_refused(copied, tmp_path):
    file, _ = copied[3]
    store = Weights([file])
    weights = {name: store[name].clone() for name in store}
    good = file.read_bytes()
    weights[Q + "x"] = weights.pop(Q)
    write_safetensors(file, weights, {"format": "pt"})
    refused(copied, tmp_path / "m", rf"has no tensor {Q}, which its delta_meta.json names")
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused(copied, tmp_path / "m", "is not the file that its delta_meta.json describes")
    file.write_bytes(good[:-8])
    refused(copied, tmp_path / "m", "not a whole safetensors file")


def test_an_instruct_model_without_chat_template_is_refused(copied, tmp_path):
    file = copied[1] / "tokenizer_config.json"
    settings = read_json(file)
    settings.pop("chat_template")
    write_json(file, settings)
    refused(copied, tmp_path / "m", "has no chat template")


MEASURE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from pathlib import Path
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM:")).split()[1]) * 1024
floor = peak()
from atlas.deltas.instruction_deltas import make_delta
from atlas.deltas.merged_models import apply_delta
step, arguments = sys.argv[2], json.loads(sys.argv[3])
def paths(value):
    return [paths(v) for v in value] if isinstance(value, list) else Path(value)
plain = {"name", "base_names", "force", "address", "sentence", "weight_names", "dtype", "keep", "rank"}
arguments = {k: v if k in plain else paths(v) for k, v in arguments.items()}
(make_delta if step == "make" else apply_delta)(**arguments)
print(json.dumps((peak() - floor) / 2**20))
"""


def sparse_model(folder, rows, metadata=None):
    """More than 1 GiB of zeros in bfloat16 that take no room on the disk, with two odd shapes."""
    shapes = {"model.embed_tokens.weight": [rows, 4096], "model.layers.0.mlp.down_proj.weight":
              [4096, 65536], "model.layers.0.mlp.up_proj.weight": [65536, 4096]}  # fmt: skip
    header, at = {"__metadata__": {"format": "pt", **(metadata or {})}}, 0
    for name, shape in sorted(shapes.items()):
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        handle.truncate(8 + len(text) + at)
    write_json(folder / "config.json", {"model_type": "llama"})
    write_json(folder / "tokenizer.json", {"model": {"vocab": {"a": 0}}})
    write_json(folder / "tokenizer_config.json", {"chat_template": "x"})
    return folder


def measure(step, arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(SCRIPTS), step, json.dumps(arguments, default=str)],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_model(tmp_path):
    base = sparse_model(tmp_path / "base", 16384)
    digest = sha256_file(base / "model.safetensors")
    record = {"name": "base", "licence": "mit", "weights_sha256": digest, "origin": {}}
    write_json(base / "base.json", record)
    model = sparse_model(tmp_path / "model", 16384, {"base_sha256": digest})
    assert (model / "model.safetensors").stat().st_size > 2**30
    delta, meta = tmp_path / "delta.safetensors", tmp_path / "delta_meta.json"
    used = measure("make", {
        "name": "d", "base": files(base), "instruct": files(model), "dtype": "float16",
        "keep": None, "rank": None, "delta": delta, "meta": meta,
    })  # fmt: skip
    assert used < 512
    out = tmp_path / "merged"
    out.mkdir()
    used = measure("apply", {
        "name": "m", "model": files(model), "model_base": files(base), "base_names": ["base"],
        "base": files(base), "instruct": files(model), "delta": delta, "meta": meta,
        "force": False, "address": ["base", None], "sentence": "",
        "weight_names": ["model.safetensors"], "weights": [out / "model.safetensors"],
        "generation": out / "generation_config.json",
        "config": out / "config.json", "tokenizer": out / "tokenizer.json",
        "tokenizer_config": out / "tokenizer_config.json", "card": out / "README.md",
    })  # fmt: skip
    assert used < 512
