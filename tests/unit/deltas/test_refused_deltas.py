"""What is no instruction delta: models that do not belong together, broken files."""

import json
import shutil

import pytest
import torch

from atlas.errors import AtlasError
from atlas.weights.tensors import write_safetensors
from unit.deltas.instruction_models import Q, delta_of, plain_models, tensors, write


def broken(change):
    def apply(folder):
        weights = tensors(folder)
        change(weights)
        write(folder, weights)

    return apply


def replaced(name, value):
    return broken(lambda weights: weights.update({name: value(weights[name])}))


def cut(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


def pickled(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.ones(1)}, folder / "model.safetensors")


def pickled_bin(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.ones(1)}, folder / "pytorch_model.bin")


def index_without(folder):
    write(folder, tensors(folder), 2)
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    gone = index["weight_map"]["model.norm.weight"]
    index["weight_map"] = {k: v for k, v in index["weight_map"].items() if v != gone}
    file.write_text(json.dumps(index))


def index_of_another(folder):
    write(folder, tensors(folder), 2)
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    index["weight_map"]["model.norm.weight"] = "model-00003-of-00003.safetensors"
    file.write_text(json.dumps(index))


def index_beyond_its_shard(folder):
    write(folder, tensors(folder), 2)
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    index["weight_map"]["model.layers.9.mlp.up_proj.weight"] = "model-00001-of-00002.safetensors"
    file.write_text(json.dumps(index))


def tensor_in_two_shards(folder):
    weights = tensors(folder)
    write(folder, weights, 2)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    names = [n for n, place in index["weight_map"].items() if "00002" in place]
    write_safetensors(
        folder / "model-00002-of-00002.safetensors",
        {name: weights[name] for name in (*names, "lm_head.weight")}, {"format": "pt"},
    )  # fmt: skip


def cut_shard(folder):
    write(folder, tensors(folder), 3)
    file = folder / "model-00002-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def shard_gone(folder):
    write(folder, tensors(folder), 2)
    (folder / "model-00002-of-00002.safetensors").unlink()


def other_token(folder):
    file = folder / "tokenizer.json"
    settings = json.loads(file.read_text())
    vocabulary = settings["model"]["vocab"]
    vocabulary["ab"] = vocabulary.pop("a")
    file.write_text(json.dumps(settings))


def other_architecture(folder):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**settings, "model_type": "gemma3_text"}))


REFUSED = {
    "shape": (replaced(Q, lambda w: w[:-1].clone()), rf"{Q} has the shape \(15, 16\)"),
    "vocabulary": (
        replaced("model.embed_tokens.weight", lambda w: torch.cat([w, w[:1]])),
        r"the vocabularies differ: model.embed_tokens.weight has 261 rows",
    ),
    "missing": (broken(lambda w: w.pop(Q)), rf"instruct: has no tensor {Q}"),
    "extra": (
        broken(lambda w: w.update(more=torch.ones(2, dtype=torch.bfloat16))),
        r"base: has no tensor more",
    ),
    "nan": (replaced(Q, lambda w: w.index_fill(0, torch.tensor([3]), torch.nan)), rf"{Q} has NaN"),
    "inf": (replaced(Q, lambda w: w.index_fill(0, torch.tensor([3]), torch.inf)), rf"{Q} has NaN"),
    "overflow": (
        replaced(Q, lambda w: w.index_fill(0, torch.tensor([3]), 70000.0)),
        rf"the delta of {Q} overflows float16 in 16 of 256 elements \(6\.250%\)",
    ),
    "integers": (replaced(Q, lambda w: w.to(torch.int32)), rf"{Q} is int32"),
    "truncated": (cut, r"not a whole safetensors file"),
    "index without a shard": (
        index_without,
        r"index puts \S+ into no file, and it stands in model-00002",
    ),
    "index of another": (
        index_of_another,
        r"into model-00003-of-00003\.safetensors, and it stands",
    ),
    "truncated shard": (cut_shard, r"model-00002-of-00003\.safetensors: not a whole safetensors"),
    "index beyond its shard": (
        index_beyond_its_shard,
        r"puts model\.layers\.9\.mlp\.up_proj\.weight into model-00001\S+, and it stands in no file",
    ),
    "tensor in two shards": (
        tensor_in_two_shards,
        r"the tensor lm_head\.weight stands in another file too",
    ),
    "shard gone": (shard_gone, r"it stands in no file"),
    "pickle": (pickled, r"a pickle, which may run code"),
    "pickle.bin": (pickled_bin, r"a pickle, which may run code"),
    "token": (other_token, r"vocabularies differ: token \d+ is 'ab', and in the base 'a'"),
    "architecture": (other_architecture, r"is a gemma3_text, and base is a llama"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(bfloat_models, tmp_path, case):
    base, good, _ = bfloat_models
    instruct = shutil.copytree(good, tmp_path / "instruct")
    change, sentence = REFUSED[case]
    change(instruct)
    with pytest.raises(AtlasError, match=sentence) as error:
        delta_of(base, instruct, tmp_path / "d", "float16")
    assert str(error.value).rstrip(".").count(". ") == 0


def test_special_tokens_may_be_renamed(bfloat_models, tmp_path):
    base, good, _ = bfloat_models
    instruct = shutil.copytree(good, tmp_path / "instruct")
    file = instruct / "tokenizer.json"
    file.write_text(file.read_text().replace("<|start|>", "<|turn|>"))
    delta_of(base, instruct, tmp_path / "d")


def test_keep_and_rank_exclude_each_other(bfloat_models, tmp_path):
    base, instruct, _ = bfloat_models
    for wrong in ({"keep": 0.1, "rank": 2}, {"keep": 0.0}, {"keep": 1.5}, {"rank": 0}):
        with pytest.raises(AtlasError, match=r"^deltas\.d: "):
            delta_of(base, instruct, tmp_path / "d", **wrong)


def test_a_difference_beyond_float32_is_named(tmp_path):
    base, instruct = plain_models(
        tmp_path, {"w": torch.full((2, 2), -3e38)}, {"w": torch.full((2, 2), 3e38)}
    )
    with pytest.raises(AtlasError, match="the difference of w is beyond the range of float32"):
        delta_of(base, instruct, tmp_path / "d")
