"""What is no merged model: other bases, broken files, deltas that are not what they say."""

import json
import re

import pytest
import torch

from atlas.digests import weights_digest
from atlas.errors import AtlasError
from atlas.files import read_json, write_json
from atlas.weights.tensors import Weights, write_safetensors
from unit.conftest import make_base, make_lora
from unit.deltas.instruction_models import (
    UNTIED,
    Q,
    delta_of,
    family,
    files,
    merge,
    moved,
    record_base,
    tensors,
    write,
)


def refused(models, out, sentence, model=None, **more):
    base, instruct, own, delta = models
    with pytest.raises(AtlasError, match=sentence) as error:
        merge(model or own, base, instruct, delta, out, **more)
    assert str(error.value).rstrip(".").count(". ") == 0


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
    refused(
        models,
        tmp_path / "m",
        r"adapter_model.safetensors: the tensor \S+lora_B\S* has NaN or Inf",
        adapter,
    )


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
