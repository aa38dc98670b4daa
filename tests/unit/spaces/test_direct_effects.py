from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

from atlas.activations.module_inputs import read_inputs, record_inputs
from atlas.errors import AtlasError
from atlas.kept import Kept
from atlas.networks.architectures import text_path
from atlas.networks.tokens import Tokens
from atlas.spaces.direct_effects import embed
from atlas.spaces.embeddings import read_embeddings
from unit.networks.kinds import BASES, adapter, fresh, full, lora, make_base, of
from unit.networks.model_kinds import EMBEDDED
from unit.networks.test_model_kinds import merged_minus_base

OPENINGS = ["Describe it.", "Below is an instruction.", "Say more about the task."]
LLAMA = {"v_proj": "o_proj", "gate_proj": "down_proj", "up_proj": "down_proj"}
EXPERTS = {"v_proj": "o_proj"}
FUSED = {"query_key_value": "dense", "dense_h_to_4h": "dense_4h_to_h"}
# Base -> name of a reader -> that of its writer. Where queries, keys and values are one matrix, only the
# rows of the values reach the writer (:func:`values`).
READERS = {
    **dict.fromkeys(("llama", "llama-tied", "qwen2", "qwen3", "mistral", "gemma2", "gemma3-text",
                     "gemma3", "gemma3, seeing all", "olmo2", "qwen2.5-vl"), LLAMA),
    **dict.fromkeys(("mixtral", "qwen3-moe"), EXPERTS),
    **dict.fromkeys(("gpt-neox", "bloom", "falcon"), FUSED),
    "gpt2": {"c_attn": "c_proj", "c_fc": "c_proj"},
    "opt": {"v_proj": "out_proj", "fc1": "fc2"},
    "phi": {"v_proj": "dense", "fc1": "fc2"},
    "phi3": {"qkv_proj": "o_proj", "gate_up_proj": "down_proj"},
}  # fmt: skip


def values(base, name, count):
    """Which of the outputs of a module reach its writer: heads of 8, in the order of each architecture."""
    rows = torch.ones(count, dtype=torch.bool)
    if name in ("c_attn", "qkv_proj"):
        rows[: 64 if base == "gpt2" else 48] = False  # 4 heads of queries, then 4 or 2 of keys
    elif name == "query_key_value" and base == "falcon":
        rows[:40] = False  # one head of keys and one of values
    elif name == "query_key_value":
        rows = (torch.arange(count) % 24) >= 16  # head by head
    return rows


def norm_slope(base, module, x):
    """By how much the output of a norm moves with its input, where centre and scale stand still."""
    weight = module.weight + (1 if base.startswith("gemma") else 0)
    if isinstance(module, torch.nn.LayerNorm):
        return weight / (x.var(dim=-1, unbiased=False, keepdim=True) + module.eps).sqrt()
    epsilon = getattr(module, "eps", None) or module.variance_epsilon
    return weight / (x.pow(2).mean(dim=-1, keepdim=True) + epsilon).sqrt()


def in_single_precision(module):
    """Let a module that knows no float64 compute in float32."""
    forward = module.float().forward

    def single(*args):
        return forward(*(a.float() if a.is_floating_point() else a for a in args)).double()

    module.forward = single


def by_patching(base, network, delta, prompts, step=1e-4):
    """The same by forward passes alone, in float64: each module gives what it gave for the base, and what
    a small share of its change adds; writers alone go on from what they are given."""
    network = network.double()
    kept, share = {}, [0.0]
    readers = READERS[base]

    def keep(name):
        return lambda _, args, output: kept.__setitem__(name, (args[0].clone(), output.clone()))

    def patched(name, module):
        last = name.rpartition(".")[2]
        weight, bias = (delta.get(f"{name}.{part}") for part in ("weight", "bias"))

        def hook(_, args, output):
            x, before = kept[name]
            after = before
            if last in readers.values():
                weight_of = module.weight if isinstance(module, Conv1D) else module.weight.T
                after = before + (args[0] - x) @ weight_of
            elif last not in readers:
                return before
            moved = torch.zeros_like(before)
            if weight is not None:
                w = weight.double()
                moved = moved + x @ (w if isinstance(module, Conv1D) else w.T)
            if bias is not None:
                moved = moved + bias.double()
            return after + share[0] * moved * values(base, last, moved.shape[-1])

        return hook

    def frozen(name):
        def hook(module, args, output):
            x, before = kept[name]
            return before + (args[0] - x) * norm_slope(base, module, x)

        return hook

    body = network.get_submodule(text_path(network))
    linear, norms = {}, {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D):
            linear[name] = module
        elif type(module).__name__.endswith("Norm") and module.weight.shape == (32,):
            norms[name] = module
    opaque = {n: m for n, m in network.named_modules() if n.endswith("mlp.experts")}
    for module in opaque.values():
        in_single_precision(module)
    found = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        kept.clear()
        hooks = [m.register_forward_hook(keep(n)) for n, m in (linear | norms | opaque).items()]
        with torch.no_grad():
            body(input_ids=ids, use_cache=False)
            for hook in hooks:
                hook.remove()
            hooks = [m.register_forward_hook(patched(n, m)) for n, m in linear.items()]
            hooks += [m.register_forward_hook(frozen(n)) for n, m in norms.items()]
            hooks += [m.register_forward_hook(lambda _, __, ___, n=n: kept[n][1])
                      for n, m in opaque.items()]  # fmt: skip
            ends = []
            for share[0] in (step, -step):
                ends.append(body(input_ids=ids, use_cache=False).last_hidden_state[0, -1])
        for hook in hooks:
            hook.remove()
        found.append((ends[0] - ends[1]) / (2 * step))
    return torch.stack(found).mean(dim=0).numpy()


class Recorded:
    """A base on disk, and what its modules read."""

    def __init__(self, folder, name, probes):
        self.name, self.folder = name, folder / name
        make_base(self.folder, name)
        self.files = sorted(self.folder.iterdir())
        self.inputs = folder / "inputs" / name / "modules.h5"
        self.inputs.parent.mkdir(parents=True)
        record_inputs(probes=probes, base=self.files, dtype="float32", inputs=self.inputs)

    @property
    def weights(self):
        return self

    def network(self):
        return fresh(self.folder)

    def embedded(self, models, folder, **more):
        told = [{"name": f.name, "base": self.name, "domain": "d"} for f in models]
        embed(
            bases=self.files, weights=[p for f in models for p in sorted(f.iterdir())], models=told,
            inputs=[self.inputs], embeddings=folder / "embeddings.npz", **more,
        )  # fmt: skip
        return read_embeddings(folder / "embeddings.npz")


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("bases"), {}
    probes = folder / "probes.txt"
    probes.write_text("\n".join(OPENINGS))

    def base(name):
        if name not in made:
            made[name] = Recorded(folder, name, probes)
        return made[name]

    return base


def prompts_of(base):
    from atlas.activations.probes import read_probes

    tokens = Tokens(base.folder)
    return [tokens.prompt(p) for p in read_probes(base.folder.parent / "probes.txt")]


def written(kind, base, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.make(base.folder, folder)
        reference = kind.reference(base.folder, folder)
        return merged_minus_base(reference, base, kind.called)


def compare(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize("name", READERS)
def test_of_every_architecture(name, bases, tmp_path):
    base = bases(name)
    kind = adapter(lora(target_modules="all-linear"), name)
    delta = written(kind, base, tmp_path / "model")
    found = base.embedded([tmp_path / "model"], tmp_path)
    assert found.dimension == 32
    compare(found.embeddings[0], by_patching(name, base.network(), delta, prompts_of(base)))


KINDS = {
    "ia3": adapter(of("IA3", ["v_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "dora": adapter(lora(use_dora=True)),
    "biases": EMBEDDED["all biases"],
    "full": full(),
    "full, qwen2": full(base="qwen2"),
    "full, gpt2": full(base="gpt2"),
    "lokr": EMBEDDED["lokr"],
    "grown": EMBEDDED["grown"],
}


@pytest.mark.parametrize("name", KINDS)
def test_of_every_kind(name, bases, tmp_path):
    kind = KINDS[name]
    base = bases(kind.base)
    delta = written(kind, base, tmp_path / "model")
    found = base.embedded([tmp_path / "model"], tmp_path).embeddings[0]
    compare(found, by_patching(kind.base, base.network(), delta, prompts_of(base)))


def test_kinds_side_by_side_are_each_as_alone(bases, tmp_path):
    base, folders = bases("llama"), []
    for name in ("ia3", "dora", "full", "lokr"):
        written(KINDS[name], base, tmp_path / name)
        folders.append(tmp_path / name)
    together = base.embedded(folders, tmp_path).embeddings
    for row, folder in zip(together, folders, strict=True):
        np.testing.assert_array_equal(row, base.embedded([folder], tmp_path).embeddings[0])


def test_kept_models_are_not_read_and_no_byte_differs(bases, tmp_path):
    base = bases("llama")
    folders = [tmp_path / name for name in ("ia3", "dora", "full")]
    for folder in folders:
        written(KINDS[folder.name], base, folder)
    whole, old = tmp_path / "whole", tmp_path / "old"
    whole.mkdir(), old.mkdir()
    base.embedded(folders, whole)
    base.embedded(folders[:2], old)
    (folders[0] / "adapter_model.safetensors").write_bytes(b"")
    kept = Kept({"ia3": base.name, "dora": base.name}, {"embeddings": old / "embeddings.npz"})
    base.embedded(folders, tmp_path, kept=kept)
    assert (tmp_path / "embeddings.npz").read_bytes() == (whole / "embeddings.npz").read_bytes()


def test_it_does_not_hang_on_the_basis_of_the_factors(bases, tmp_path):
    base = bases("llama")
    written(adapter(lora()), base, tmp_path / "one")
    folder = tmp_path / "two"
    folder.mkdir()
    tensors = load_file(tmp_path / "one" / "adapter_model.safetensors")
    turn = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    turned = {
        key: (turn @ t.double() if "lora_A" in key else t.double() @ turn.inverse()).float()
        for key, t in tensors.items()
    }
    save_file(turned, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(
        (tmp_path / "one" / "adapter_config.json").read_text()
    )
    one, two = base.embedded([tmp_path / "one", folder], tmp_path).embeddings
    assert abs(one).max() > 1e-3
    np.testing.assert_allclose(one, two, atol=1e-5 * abs(one).max())


def test_probes_of_several_batches_are_in_their_order(bases, tmp_path, monkeypatch):
    from atlas.activations import last_tokens

    base = bases("llama")
    monkeypatch.setattr(last_tokens, "SMALL", 0)
    probes = base.folder.parent / "probes.txt"
    together = tmp_path / "modules.h5"
    record_inputs(probes=probes, base=base.files, dtype="float32", inputs=together)
    (_, one), (_, two) = read_inputs(base.inputs), read_inputs(together)
    assert one.keys() == two.keys()
    for name, writer in one.items():
        torch.testing.assert_close(writer.inputs, two[name].inputs, rtol=1e-4, atol=1e-5)
        for key, reader in writer.readers.items():
            other = two[name].readers[key]
            torch.testing.assert_close(reader.inputs, other.inputs, rtol=1e-4, atol=1e-5)
            assert torch.equal(reader.columns, other.columns)


def test_the_same_bytes_each_time(bases, tmp_path):
    base = bases("phi3")
    again = tmp_path / "modules.h5"
    record_inputs(
        probes=base.folder.parent / "probes.txt", base=base.files, dtype="float32", inputs=again
    )
    assert again.read_bytes() == base.inputs.read_bytes()


SEQUENCES = adapter(lora(target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM"), "t5")


@pytest.mark.parametrize(
    ("base", "kind", "reason"),
    [
        ("llama", EMBEDDED["prompt"], "model: prompt tuning changes no weight of the base"),
        ("llama", adapter(lora(target_modules=["q_proj", "k_proj"])),
         "model: none of the matrices that it changes has a direct path"),
        ("t5", SEQUENCES, "t5 is a sequence-to-sequence model"),
        ("qwen3.5", adapter(lora(), "qwen3.5"), "the direct paths of qwen3.5 are not known: model"),
    ],
)  # fmt: skip
def test_what_has_no_direct_effect(base, kind, reason, bases, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.make(bases(base).folder, tmp_path / "model")
    found = bases(base).embedded([tmp_path / "model"], tmp_path)
    assert found.reason.startswith(reason)
    assert found.dimension == 0


def test_all_bases_are_tried():
    left = {"bart", "llama-bf16", "olmo", "qwen3.5", "t5"}
    assert READERS.keys() | left == BASES.keys()


def test_in_bfloat16_the_paths_are_the_same(bases, tmp_path):
    base = bases("llama-bf16")
    inputs = tmp_path / "modules.h5"
    record_inputs(
        probes=base.folder.parent / "probes.txt", base=base.files, dtype="bfloat16", inputs=inputs
    )
    (_, one), (_, two) = read_inputs(base.inputs), read_inputs(inputs)
    for name, writer in one.items():
        for key, reader in writer.readers.items():
            for part in ("rows", "columns", "groups"):
                assert torch.equal(getattr(reader, part), getattr(two[name].readers[key], part))


def test_a_damaged_file_is_named(bases, tmp_path):
    file = tmp_path / "modules.h5"
    file.write_bytes(bases("llama").inputs.read_bytes()[:1000])
    with pytest.raises(AtlasError, match=r"modules\.h5: not a whole HDF5 file"):
        read_inputs(file)
