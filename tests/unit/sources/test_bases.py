from __future__ import annotations

import json
import shutil

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from atlas.digests import sha256_file, weights_digest
from atlas.errors import AtlasError
from atlas.networks.named_weights import own_tensors
from atlas.networks.tokens import load_tokenizer
from atlas.sources.bases import base_from_model
from atlas.weights.tensors import Weights
from unit.conftest import LLAMA, TINY_BASE, load, make_base, make_full, make_lora
from unit.networks.kinds import make_base as make_kind_of_base
from unit.networks.model_kinds import EMBEDDED

TIED = {
    "random": {"architecture": "llama", "seed": 1, "config": {**LLAMA, "tie_word_embeddings": True}}
}


def same_files(one, other, but=()):
    return [
        a.name for a, b in zip(one, other, strict=True)
        if a.name not in but and a.read_bytes() != b.read_bytes()
    ] == []  # fmt: skip


def test_a_random_base_is_the_same_each_time(tiny_base, tmp_path, monkeypatch):
    again = make_base(tmp_path / "tiny")
    assert same_files(tiny_base, again)
    with monkeypatch.context() as patched:
        patched.setattr(constants, "HF_HUB_OFFLINE", not constants.HF_HUB_OFFLINE)
        assert same_files(tiny_base, make_base(tmp_path / "elsewhere" / "tiny"))
    other = {"random": {**TINY_BASE["random"], "seed": 4}}
    assert not same_files(tiny_base, make_base(tmp_path / "other", other), but=("base.json",))


def test_it_loads_as_it_stands(base_folder, tiny_base):
    network = load(base_folder)
    record = json.loads(tiny_base[0].read_text())
    assert record["parameters"] == sum(p.numel() for p in network.parameters())
    assert record["weights_sha256"] == sha256_file(base_folder / "model.safetensors")
    assert (record["name"], record["dtype"], record["licence"]) == ("tiny", "float32", "mit")
    assert record["origin"] == TINY_BASE
    assert load_tokenizer(base_folder).chat_template
    assert network.config.eos_token_id == load_tokenizer(base_folder).eos_token_id == 2


def test_a_chat_template_is_for_a_tokenizer_that_has_none(base_folder, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(base_folder, source)
    given = "{{ messages[0]['content'] }}"
    kept = make_base(tmp_path / "kept", {"local": str(source)}, chat_template=given)
    assert load_tokenizer(kept[0].parent).chat_template != given
    settings = json.loads((source / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    plain = make_base(tmp_path / "plain", {"local": str(source)}, chat_template=given)
    assert load_tokenizer(plain[0].parent).chat_template == given


def test_no_path_of_the_machine_is_recorded(tiny_base, tmp_path):
    again = make_base(tmp_path / "tiny", {"local": str(tiny_base[0].parent)})
    for file in again[:4]:
        assert str(tmp_path) not in file.read_text()
        assert str(tiny_base[0].parent) not in file.read_text()


def test_dtype_and_shards(base_folder, tmp_path):
    half = make_base(tmp_path / "half", dtype="bfloat16", shards=2)
    first, second = (load_file(f) for f in half if f.suffix == ".safetensors")
    whole = load_file(base_folder / "model.safetensors")
    assert first.keys() ^ second.keys() == whole.keys()
    for name, tensor in (first | second).items():
        assert torch.equal(tensor, whole[name].to(torch.bfloat16))
    assert load(tmp_path / "half").lm_head.weight.shape == (260, 16)


def test_tied_weights_are_stored_once(tmp_path):
    files = make_base(tmp_path / "tied", TIED)
    network = load(tmp_path / "tied")
    assert "lm_head.weight" not in load_file(files[-1])
    assert network.lm_head.weight.data_ptr() == network.model.embed_tokens.weight.data_ptr()
    assert set(own_tensors(network)) == {n for n, _ in network.named_parameters()}


def test_a_local_base(tiny_base, tmp_path):
    files = make_base(tmp_path / "tiny", {"local": str(tiny_base[0].parent)})
    assert same_files(tiny_base, files, but=("base.json",))
    record = json.loads(files[0].read_text())
    assert record["weights_sha256"] == json.loads(tiny_base[0].read_text())["weights_sha256"]


def test_how_a_source_generates_is_kept(copy, tmp_path):
    assert "generation" not in json.loads((make_base(tmp_path / "a")[0]).read_text())
    settings = {"eos_token_id": [2, 9], "temperature": 0.6, "do_sample": True}
    (copy / "generation_config.json").write_text(json.dumps(settings))
    source = {"local": str(copy)}
    files = make_base(tmp_path / "b", source)
    assert json.loads(files[0].read_text())["generation"] == settings
    model = tmp_path / "m"
    model.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (model / name).write_bytes((copy / name).read_bytes())
    same = derive(files, sorted(model.iterdir()), False, tmp_path / "c")
    assert json.loads(same[0].read_text())["generation"] == settings
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "eos_token_id": 7}))
    other = derive(files, sorted(model.iterdir()), False, tmp_path / "d")
    assert json.loads(other[0].read_text())["generation"] == {**settings, "eos_token_id": 7}
    (copy / "generation_config.json").write_text("[]")
    with pytest.raises(AtlasError, match=r"^e: its generation_config\.json is not a JSON object"):
        make_base(tmp_path / "e", source)


@pytest.fixture
def copy(base_folder, tmp_path):
    """A folder with a model that tests may spoil."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (folder / name).write_bytes((base_folder / name).read_bytes())
    return folder


def refused(folder, message, shards=1):
    target = folder.parent / "out"
    with pytest.raises(AtlasError, match=message):
        make_base(target, {"local": str(folder)}, shards=shards)
    assert not (target / "base.json").exists()


def test_a_folder_with_a_pickle_only(copy):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"x")
    refused(copy, "has no model.safetensors; pytorch_model.bin is a pickle, .*convert it")


def test_what_an_adapter_and_an_older_save_left_beside_a_base_is_left_out(
    copy, tiny_base, tmp_path
):
    (copy / "adapter_config.json").write_text('{"base_model_name_or_path": "no/where"}')
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    same_files(make_base(tmp_path / "beside", {"local": str(copy)}), tiny_base, but=("base.json",))


def test_a_pickle_by_another_name(copy):
    torch.save({"x": torch.ones(1)}, copy / "model.safetensors")
    refused(copy, "a pickle, which may run code")


def test_any_number_of_weight_files(copy, tmp_path, base_folder):
    """As many as they come in are linked, others written anew: the same tensors in each case."""
    tensors = load_file(base_folder / "model.safetensors")
    load(base_folder).save_pretrained(copy, max_shard_size="10KB")
    (copy / "model.safetensors").unlink()
    many = len(list(copy.glob("model-*.safetensors")))
    assert many > 3
    for shards in (1, 2, many):
        files = make_base(tmp_path / f"b{shards}", {"local": str(copy)}, shards=shards)
        weights = [file for file in files if ".safetensors" in file.name]
        found = {name: Weights(weights)[name] for name in Weights(weights)}
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
        record = json.loads(files[0].read_text())
        assert record["weights_sha256"] == weights_digest(weights)
        same = [(copy / f.name).is_file() and f.read_bytes() == (copy / f.name).read_bytes()
                for f in weights]  # fmt: skip
        assert all(same) == (shards == many)


@pytest.mark.parametrize(
    ("name", "message"),
    [("model.norm.weight", "out: has no tensor model.norm.weight, which the network of its config"),
     ("score.weight", "out: has a tensor score.weight, for which the network .* has no place")],
)  # fmt: skip
def test_tensors_that_are_missing_or_have_no_place(copy, name, message):
    tensors = load_file(copy / "model.safetensors")
    if tensors.pop(name, None) is None:
        tensors[name] = torch.ones(1)
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    refused(copy, message)


def test_not_a_number_in_weights(copy):
    tensors = load_file(copy / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    refused(copy, "out: the tensor model.norm.weight has NaN or Inf")


def test_no_folder(tmp_path):
    refused(tmp_path / "nowhere", "nowhere: there is no such folder")


@pytest.mark.parametrize("name", ["llama", "mixtral", "gpt_neox"])
def test_older_transformers_read_a_base(tmp_path, name):
    """Keys of config.json, class of the tokenizer and names of tensors are those that they know."""
    heads = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    config = heads | {"rope_parameters": {"rope_type": "default", "rope_theta": 777.0}}
    source = {"architecture": name, "seed": 1, "config": config}
    files = make_base(tmp_path / "b", {"random": source})
    record, config, _, tokenizer = (json.loads(file.read_text()) for file in files[:4])
    assert config["rotary_emb_base" if name == "gpt_neox" else "rope_theta"] == 777.0
    assert config["rope_parameters"]["rope_theta"] == 777.0
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["clean_up_tokenization_spaces"] is False
    assert tokenizer["model_input_names"] == ["input_ids", "attention_mask"]
    expected = {"llama": "lm_head.weight", "gpt_neox": "embed_out.weight",
                "mixtral": "model.layers.0.block_sparse_moe.experts.7.w2.weight"}  # fmt: skip
    assert expected[name] in load_file(files[-1])
    assert record["transformers"] == "4.46"


def test_a_base_that_only_newer_transformers_read(base_folder, tmp_path):
    """Its files stay as they are."""
    copy = tmp_path / "copy"
    shutil.copytree(base_folder, copy)
    settings = json.loads((copy / "config.json").read_text())
    settings["rope_parameters"]["rope_theta"] = 777.0
    for key in ("rope_theta", "rope_scaling", "torch_dtype"):
        del settings[key]
    (copy / "config.json").write_text(json.dumps(settings))
    files = make_base(tmp_path / "b", {"local": str(copy)})
    assert files[1].read_bytes() == (copy / "config.json").read_bytes()
    assert json.loads(files[0].read_text())["transformers"] == "5.0"


def derive(base, model, adapter, target):
    target.mkdir()
    names = ("base.json", "config.json", "tokenizer.json", "tokenizer_config.json",
             "model.safetensors")  # fmt: skip
    files = [target / name for name in names]
    base_from_model(
        name="model--m", base=base, model=model, adapter=adapter,
        weight_names=["model.safetensors"], record=files[0], config=files[1], tokenizer=files[2],
        tokenizer_config=files[3], weights=files[4:],
    )  # fmt: skip
    return files


def test_an_adapter_merged_as_peft_merges_it(tiny_base, base_folder, tmp_path):
    from peft import PeftModel

    files = make_lora(base_folder, tmp_path / "m", 4, ["q_proj", "down_proj"], 5)
    made = derive(tiny_base, files, True, tmp_path / "out")
    merged = PeftModel.from_pretrained(load(base_folder), tmp_path / "m").merge_and_unload()
    found = load_file(made[-1])
    assert found.keys() == merged.state_dict().keys()
    for name, tensor in merged.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)
    record = json.loads(made[0].read_text())
    base = json.loads(tiny_base[0].read_text())
    assert record["weights_sha256"] == sha256_file(made[-1]) != base["weights_sha256"]
    assert record["origin"] == {"model": "m", "base_sha256": base["weights_sha256"]}
    load(tmp_path / "out")


def test_a_full_model_as_base(tiny_base, base_folder, tmp_path):
    files = make_full(base_folder, tmp_path / "m", 6)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "m" / name).write_bytes((base_folder / name).read_bytes())
        files.append(tmp_path / "m" / name)
    made = derive(tiny_base, files, False, tmp_path / "out")
    assert made[-1].read_bytes() == (tmp_path / "m/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "settings", [{"use_dora": True}, {"modules_to_save": ["embed_tokens", "lm_head"]}]
)
def test_an_adapter_that_peft_merges(tiny_base, base_folder, tmp_path, settings):
    """Its vocabulary may have grown; the base that it was merged into stays as it is."""
    from peft import LoraConfig, PeftModel, get_peft_model

    def grown():
        network = load(base_folder)
        if "modules_to_save" in settings:
            network.resize_token_embeddings(270, mean_resizing=False)
        return network

    before = [sha256_file(file) for file in tiny_base]
    torch.manual_seed(3)
    wrapped = get_peft_model(grown(), LoraConfig(r=2, target_modules=["q_proj"], **settings))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    wrapped.save_pretrained(tmp_path / "m")
    files = [tmp_path / "m" / name for name in ("adapter_config.json", "adapter_model.safetensors")]
    made = derive(tiny_base, files, True, tmp_path / "out")
    reference = PeftModel.from_pretrained(grown(), tmp_path / "m").merge_and_unload().eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        expected, found = reference(ids).logits, load(tmp_path / "out")(ids).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert [sha256_file(file) for file in tiny_base] == before
    assert len(made) == 5


def test_an_adapter_of_a_base_that_is_stored_under_other_names(tmp_path):
    from peft import PeftModel

    kind = EMBEDDED["lora of gemma3"]
    make_kind_of_base(tmp_path / "gemma3", kind.base)
    kind.make(tmp_path / "gemma3", tmp_path / "m")
    about = {"name": "gemma3", "weights_sha256": "x", "origin": {}}
    (tmp_path / "gemma3/base.json").write_text(json.dumps(about))
    files = [tmp_path / "m" / name for name in ("adapter_config.json", "adapter_model.safetensors")]
    derive(sorted((tmp_path / "gemma3").iterdir()), files, True, tmp_path / "out")
    reference = PeftModel.from_pretrained(load(tmp_path / "gemma3"), tmp_path / "m").eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        found, expected = load(tmp_path / "out")(ids).logits, reference(ids).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
