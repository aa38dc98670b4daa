"""Networks that are read layer by layer compute what they compute in memory."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tf

import programs
from atlas.activations import last_tokens
from atlas.activations.features import on_probes
from atlas.activations.last_tokens import Probe
from atlas.errors import AtlasError
from atlas.networks.by_layer import Layers, unread_refused
from atlas.networks.shards import applied, loaded_bases, read_model
from atlas.networks.swap import load_base
from atlas.networks.tokens import byte_tokenizer, hides_padding
from unit.networks.kinds import BASES, STORED, UNTIED, ends, make_base
from unit.networks.model_kinds import EMBEDDED

CPU = torch.device("cpu")
PROMPTS = ["Describe it.", "Below is an instruction."]
MARIAN = {"vocab_size": 260, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48,
          "encoder_attention_heads": 4, "decoder_attention_heads": 4, "decoder_ffn_dim": 48,
          "max_position_embeddings": 256, "decoder_start_token_id": 0}  # fmt: skip
LLAMA_4 = {"intermediate_size_mlp": 48, "num_local_experts": 2, "head_dim": 8, "moe_layers": [1]}
SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Gives the folder of a base by its name; each is made once."""
    folder = tmp_path_factory.mktemp("bases")

    def base(name):
        if not (folder / name).exists():
            make_base(folder / name, name)
        return folder / name

    return base


def both(folder, dtype="float32"):
    """A base in memory, and one that is read."""
    return load_base(folder, dtype, CPU, seq2seq=True), Layers(folder, dtype, CPU).base()


@pytest.mark.parametrize("name", [*BASES, *STORED])
def test_a_base_of_each_architecture(name, bases, monkeypatch):
    dtype = "bfloat16" if name.endswith("bf16") else "float32"
    whole, read = both(bases(name), dtype)
    close = {"rtol": 0, "atol": 1e-5}
    for small in (4_000_000, 0):  # each prompt by itself, and all of them padded
        monkeypatch.setattr(last_tokens, "SMALL", small)
        probes = [Probe(bases(name), PROMPTS, network) for network in (whole, read)]
        apart = small or dtype == "bfloat16" or not hides_padding(whole)
        assert len(probes[1].inputs) == (2 if apart else 1)
        expected = probes[0].last_token(whole, name)
        np.testing.assert_allclose(probes[1].last_token(read, name), expected, **close)
        if not whole.config.is_encoder_decoder:
            one, two = (on_probes(n, p, name) for n, p in zip((whole, read), probes, strict=True))
            for key in one:
                np.testing.assert_allclose(two[key], one[key], err_msg=key, **close)
    # Between two passes, nothing of a layer is in its place.
    assert all(parameter.is_meta for parameter in _first_layer(read).parameters())


@pytest.mark.parametrize(
    "make",
    [lambda: tf.MarianMTModel(tf.MarianConfig(**ends(), **MARIAN)),
     lambda: tf.AutoModelForCausalLM.from_config(tf.Llama4TextConfig(**UNTIED, **LLAMA_4))],
    ids=["marian", "llama4"],
)  # fmt: skip
def test_a_network_that_cannot_be_read_so(make, tmp_path):
    """One has positions that are in no file, another sends its tokens to where its embeddings are."""
    make().save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    whole, read = both(tmp_path, "float32")
    assert Probe(tmp_path, PROMPTS, whole).last_token(whole, "base").shape == (2, 32)
    with pytest.raises(
        AtlasError, match=r"base: its network cannot be read layer by layer; .*never"
    ):
        Probe(tmp_path, PROMPTS, read).last_token(read, "base")


def test_an_adapter_that_cannot_be_read_so_is_told_of_as_such(bases, tmp_path):
    base, model = written("dora", bases, tmp_path)
    layers = Layers(base, "float32", CPU)
    message = (
        r"its LORA adapter computes with more of the base than one layer; .*leave this model out"
    )
    told = pytest.raises(AtlasError, match=message)
    with told, layers.applied(model) as network, unread_refused(network, "m"):
        raise RuntimeError("Tensor on device meta is not on the expected device cpu!")


def _first_layer(network):
    lists = (m for m in network.modules() if isinstance(m, torch.nn.ModuleList) and len(m))
    return next(iter(lists))[0]


KINDS = ("lora", "rslora", "ia3", "head", "dora", "all biases", "grown", "norms saved", "loha", "hra",
         "vera", "experts", "prompt", "prefix", "dora of gpt2", "full gemma3", "full, rope_theta",
         "merged: dora", "grown, tied")  # fmt: skip
NOT_BY_LAYER = ("from pissa", "osf", "frod", "trainable tokens", "tokens, tied, all saved")


def written(name, bases, folder):
    kind = EMBEDDED[name]
    base = bases(kind.base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.make(base, folder)
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return base, read_model(files, {"name": "base", "weights_sha256": "x"}, ["lab/base"])


@pytest.mark.parametrize("name", KINDS)
def test_a_model_of_a_kind(name, bases, tmp_path):
    folder, model = written(name, bases, tmp_path / "its-name")
    whole, read = both(folder)
    probe = Probe(folder, PROMPTS, whole)
    before = probe.last_token(read, "base")
    with applied(whole, model) as network:
        expected = probe.last_token(network, name)
    with applied(read, model) as network:
        found = probe.last_token(network, name)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.abs(found - before).max() > 1e-3
    assert np.array_equal(probe.last_token(read, "base"), before)


@pytest.mark.parametrize("name", NOT_BY_LAYER)
def test_what_needs_the_whole_base_says_so(name, bases, tmp_path):
    folder, model = written(name, bases, tmp_path / "its-name")
    read = Layers(folder, "float32", CPU).base()
    probe = Probe(folder, PROMPTS, read)
    said = r"its-name: .* adapter computes with more of the base than one layer"
    with pytest.raises(AtlasError, match=said), applied(read, model) as network:
        probe.last_token(network, name)


def loaded(tiny_base, pool):
    (base,) = loaded_bases(
        bases=tiny_base, weights=[file for files in pool.values() for file in files],
        models=[{"name": name, "base": "tiny"} for name in pool], dtypes={"tiny": "float32"},
        base_names={"tiny": ["tiny"]},
    )  # fmt: skip
    return base


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setenv("DELTA_ATLAS_STREAM", "always")


@pytest.mark.parametrize("at_once", [64, 2])
def test_models_of_a_shard_advance_together(tiny_base, mixed_pool, always, monkeypatch, at_once):
    base = loaded(tiny_base, mixed_pool)
    read = []
    original = Layers._read

    def counting(self, names, key):
        read.append(self.stored.folder.name)
        original(self, names, key)

    monkeypatch.setattr(Layers, "_read", counting)
    probe = Probe(base.folder, PROMPTS, base.network)
    found = list(base.read(probe.last_token, at_once))
    assert [name for name, _ in found] == [None, *sorted(mixed_pool)]
    # A layer is read once for all models of the base, and once for each full model: both of them, in
    # each of its passes (a prompt is one, in so small a network).
    chunks = -(-(1 + len(mixed_pool)) // at_once)
    layers, passes = 2, len(probe.inputs)
    outside = 1  # the norm at the end, once for the full model
    assert read.count("tiny") == layers * passes * chunks
    assert read.count("full") == layers * passes + outside
    monkeypatch.setenv("DELTA_ATLAS_STREAM", "never")
    whole = loaded(tiny_base, mixed_pool)
    for (name, one), (_, two) in zip(found, whole.read(probe.last_token), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5, err_msg=str(name))


@pytest.mark.parametrize("damaged", ["tiny", "full", "lora8"])
def test_a_truncated_file_is_named_before_anything_is_computed(
    tiny_base, mixed_pool, tmp_path, always, monkeypatch, damaged
):
    monkeypatch.setattr(Layers, "_step", lambda *_: pytest.fail("nothing may be computed"))
    copies = {"tiny": tiny_base} | mixed_pool
    for name, files in copies.items():
        (tmp_path / name).mkdir()
        copies[name] = [tmp_path / name / file.name for file in files]
        for file, copied in zip(files, copies[name], strict=True):
            content = file.read_bytes()
            short = name == damaged and file.suffix == ".safetensors"
            copied.write_bytes(content[: -5 if short else len(content)])
    with pytest.raises(AtlasError, match=rf"{damaged}/.*\.safetensors: not a whole safetensors"):
        base = loaded(copies.pop("tiny"), copies)
        list(base.read(lambda *_: None))


def test_weights_that_are_not_finite_are_named(tiny_base, mixed_pool, tmp_path, always):
    from safetensors.torch import load_file, save_file

    config, weights = mixed_pool["full"]
    (tmp_path / "m").mkdir()
    tensors = load_file(weights)
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = float("inf")
    save_file(tensors, tmp_path / "m/model.safetensors", {"format": "pt"})
    (tmp_path / "m/config.json").write_bytes(config.read_bytes())
    base = loaded(tiny_base, {"m": sorted((tmp_path / "m").iterdir())})
    probe = Probe(base.folder, PROMPTS, base.network)
    with pytest.raises(
        AtlasError, match=r"m: the tensor model.layers.1.mlp.up_proj.weight has NaN"
    ):
        list(base.read(probe.last_token))


PEAK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import torch
from pathlib import Path
from atlas.activations.last_tokens import Probe
from atlas.networks import peft_adapters
from atlas.networks.by_layer import Layers
from transformers import LlamaForCausalLM
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM:")).split()[1]) * 1024
folder = Path(sys.argv[2])
with torch.device("meta"):
    LlamaForCausalLM.config_class()
before = peak()
network = Layers(folder, "float32", torch.device("cpu")).base()
with torch.inference_mode():
    found = network.base_model(input_ids=torch.tensor([[1, 2, 3]]), use_cache=False)
assert found.last_hidden_state.shape[1] == 3
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_is_that_of_a_layer(tmp_path):
    """A base of 370 MB in bfloat16, 740 in float32; a layer has 46."""
    sys.path.insert(0, str(SCRIPTS.parent / "bench"))
    from parts.random_models import make_base as random_base

    config = {"hidden_size": 1024, "intermediate_size": 2560, "num_hidden_layers": 12,
              "num_attention_heads": 16, "num_key_value_heads": 8, "vocab_size": 24000,
              "tie_word_embeddings": False}  # fmt: skip
    random_base(tmp_path / "base", config, torch.bfloat16)
    assert (tmp_path / "base/model.safetensors").stat().st_size > 350e6
    command = [sys.executable, "-c", PEAK, str(SCRIPTS), str(tmp_path / "base")]
    done = programs.run(command, libraries=["peft"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) < 150e6
