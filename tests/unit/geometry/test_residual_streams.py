from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.files import write_jsonl
from atlas.geometry import residual_streams as module
from atlas.geometry.residual_streams import (
    extract_streams,
    grouped,
    length_batches,
    prompt_rows,
    read_streams,
    streams,
)
from atlas.geometry.stream_files import STREAMS, StreamFile, hook_names
from atlas.networks.tokens import Tokens
from unit.conftest import LLAMA, load, make_base, randomize

ARCHITECTURES = {
    "llama": {}, "mistral": {}, "smollm3": {"pad_token_id": 0}, "qwen2": {},
    "qwen3": {"head_dim": 4}, "gemma": {"head_dim": 4}, "gemma2": {"head_dim": 4},
    "gemma3_text": {"head_dim": 4}, "olmo2": {}, "olmo3": {},
}  # fmt: skip
PROMPTS = ["Two and two?", "Name a colour.", "Say it.", "Explain why water is wet, in short."]


def norm(x, weight, eps, offset=0.0):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * (weight + offset)


def turned(x, positions, theta):
    """Rotary positions, halves of a head as pairs."""
    half = x.shape[-1] // 2
    angle = positions[:, None] * theta ** (-torch.arange(half) / half)
    one, two = x[..., :half], x[..., half:]
    return torch.cat(
        [one * angle.cos() - two * angle.sin(), two * angle.cos() + one * angle.sin()], -1
    )


def plain_llama(weights, config, ids):
    """A llama written down by hand: hook -> (tokens, d), one prompt."""
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    eps, theta = config.rms_norm_eps, config.rope_parameters["rope_theta"]
    x = weights["model.embed_tokens.weight"][torch.tensor(ids)]
    count = len(ids)
    size = x.shape[1] // heads
    positions = torch.arange(count, dtype=torch.float32)
    future = torch.ones(count, count, dtype=torch.bool).triu(1)
    found = {}
    for i in range(config.num_hidden_layers):
        w = {
            key.removeprefix(f"model.layers.{i}.").removesuffix(".weight"): value
            for key, value in weights.items()
            if key.startswith(f"model.layers.{i}.")
        }
        found[f"blocks.{i}.hook_resid_pre"] = x
        normed = norm(x, w["input_layernorm"], eps)
        q, k, v = (
            (normed @ w[f"self_attn.{n}_proj"].T).view(count, -1, size).transpose(0, 1)
            for n in "qkv"
        )
        q, k = turned(q, positions, theta), turned(k, positions, theta)
        k, v = (t.repeat_interleave(heads // groups, dim=0) for t in (k, v))
        scores = (q @ k.transpose(1, 2) / size**0.5).masked_fill(future, -torch.inf).softmax(-1)
        x = x + (scores @ v).transpose(0, 1).reshape(count, -1) @ w["self_attn.o_proj"].T
        found[f"blocks.{i}.hook_resid_mid"] = x
        normed = norm(x, w["post_attention_layernorm"], eps)
        gate = torch.nn.functional.silu(normed @ w["mlp.gate_proj"].T)
        x = x + (gate * (normed @ w["mlp.up_proj"].T)) @ w["mlp.down_proj"].T
        found[f"blocks.{i}.hook_resid_post"] = x
    return found


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("architectures")
    return {
        name: make_base(
            folder / name,
            {"random": {"architecture": name, "seed": 5, "config": {**LLAMA, **more}}},
        )
        for name, more in ARCHITECTURES.items()
    }


def ids_of(base):
    tokens = Tokens(base[0].parent)
    return [tokens.prompt(text) for text in PROMPTS]


@torch.inference_mode()
def test_the_same_as_a_llama_written_by_hand(bases):
    network = load(bases["llama"][0].parent)
    ids = ids_of(bases["llama"])
    assert list(read_streams(network, ids, "all")) == hook_names(2)
    found = read_streams(network, ids, "all", STREAMS)
    assert list(found) == hook_names(2, STREAMS)
    assert list(found)[:2] == ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_mid"]
    for number, row in enumerate(ids):
        expected = plain_llama(network.state_dict(), network.config, row)
        for hook, arrays in found.items():
            torch.testing.assert_close(arrays[number], expected[hook], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_streams_of_each_architecture(bases, name):
    """resid_post against hidden_states; before it, what attention and MLP add to the stream."""
    network = load(bases[name][0].parent)
    randomize(network, 6, 0.3, lambda parameter: "norm" in parameter)
    body = network.base_model
    assert set(ARCHITECTURES) == set(module.BEFORE_MLP)
    attention = {}
    for i, block in enumerate(body.layers):
        block.self_attn.register_forward_hook(
            lambda _, inputs, output, i=i: attention.__setitem__(i, output[0][0])
        )
    normed_after = name.startswith("olmo") or name in ("gemma2", "gemma3_text")
    for number, row in enumerate(ids_of(bases[name])):
        found = read_streams(network, [row], "all", STREAMS)
        output = body(input_ids=torch.tensor([row]), output_hidden_states=True, use_cache=False)
        last = len(body.layers) - 1
        for i, block in enumerate(body.layers):
            post = found[f"blocks.{i}.hook_resid_post"][0]
            before = found[f"blocks.{i}.hook_resid_pre"][0]
            torch.testing.assert_close(before, output.hidden_states[i][0], rtol=0, atol=0)
            if i < last:
                torch.testing.assert_close(post, output.hidden_states[i + 1][0], rtol=0, atol=0)
            else:
                torch.testing.assert_close(body.norm(post), output.last_hidden_state[0],
                                           rtol=0, atol=1e-6)  # fmt: skip
            mid = found[f"blocks.{i}.hook_resid_mid"][0]
            part = mid
            if name in ("gemma2", "gemma3_text"):
                part = block.post_feedforward_layernorm(
                    block.mlp(block.pre_feedforward_layernorm(part))
                )
            elif name.startswith("olmo"):
                part = block.post_feedforward_layernorm(block.mlp(part))
            else:
                part = block.mlp(block.post_attention_layernorm(part))
            torch.testing.assert_close(mid + part, post, rtol=0, atol=1e-6)
            added = attention[i]
            if normed_after:
                added = block.post_attention_layernorm(added)
            before = output.hidden_states[i][0]
            torch.testing.assert_close(before + added, mid, rtol=0, atol=1e-6)
            assert added.abs().max() > 1e-4, number


@torch.inference_mode()
def test_positions_of_a_padded_batch(bases):
    network = load(bases["llama"][0].parent)
    ids = ids_of(bases["llama"])
    together = {p: read_streams(network, ids, p) for p in ("last_token", "mean", "all")}
    for number, row in enumerate(ids):
        alone = read_streams(network, [row], "all")
        for hook in hook_names(2):
            one = alone[hook][0]
            close = {"rtol": 0, "atol": 1e-6}
            torch.testing.assert_close(together["all"][hook][number], one, **close)
            torch.testing.assert_close(together["last_token"][hook][number], one[-1], **close)
            torch.testing.assert_close(together["mean"][hook][number], one.mean(dim=0), **close)


def test_hooks_are_taken_off_and_strangers_refused(bases):
    network = load(bases["llama"][0].parent)
    with pytest.raises(AtlasError, match=r"positions is first; it is one of last_token, mean, all"):
        read_streams(network, [[1]], "first")
    with pytest.raises(ZeroDivisionError), streams(network, lambda hook, stream: 1 / 0):
        network.base_model(input_ids=torch.tensor([[1]]))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    network.base_model.config.model_type = "mamba"
    with pytest.raises(AtlasError, match="architecture mamba are not known; those of gemma, "):
        read_streams(network, [[1]], "all")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 30), st.integers(1, 99))
def test_batches_and_parts_are_partitions(lengths, most, size):
    found = length_batches(lengths, most)
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= most
    for positions in ("last_token", "all"):
        parts = grouped(found, lengths, positions, 3, size)
        assert [batch for part in parts for batch in part] == found
        for part in parts:
            rows = sum(lengths[i] if positions == "all" else 1 for batch in part for i in batch)
            assert len(part) == 1 or 3 * rows <= size


def extracted(folder, base, model=(), name="a", positions="last_token", precision="float32",
              prompts=PROMPTS, **more):  # fmt: skip
    folder.mkdir(exist_ok=True)
    write_jsonl(folder / "prompts.jsonl", [{"prompt": text} for text in prompts])
    scratch = folder / f"scratch-{name}"
    scratch.mkdir(exist_ok=True)
    extract_streams(
        prompts=folder / "prompts.jsonl", base=base, model=list(model), base_names=["tiny", "llama"],
        dtype="float32", most=None, positions=positions, precision=precision,
        activations=folder / f"{name}.h5", scratch=scratch, **more,
    )  # fmt: skip
    return folder / f"{name}.h5"


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_the_file(bases, tmp_path, precision):
    file = extracted(tmp_path, bases["llama"], precision=precision, batch_tokens=30, part_bytes=200)
    assert len(list((tmp_path / "scratch-a").iterdir())) > 1
    network, ids = load(bases["llama"][0].parent), ids_of(bases["llama"])
    with StreamFile(file) as stored:
        assert stored.hooks == hook_names(2)
        assert (stored.prompts, stored.positions) == (PROMPTS, "last_token")
        for hook in stored.hooks:
            array = stored.read(hook)
            assert (array.shape, array.dtype) == ((4, 16), precision)
            for number, row in enumerate(ids):
                expected = read_streams(network, [row], "all")[hook][0][-1]
                np.testing.assert_allclose(
                    array[number], expected, rtol=1e-3 if precision == "float16" else 0, atol=1e-6
                )
        with pytest.raises(AtlasError, match=r"blocks.7.hook_resid_mid is missing"):
            stored.read("blocks.7.hook_resid_mid")
    with h5py.File(file) as raw:
        assert list(raw["tokens"]) == [len(row) for row in ids]
        assert list(raw["offsets"]) == [0, 1, 2, 3, 4]


def test_the_streams_that_are_asked_for(bases, tmp_path):
    """In the order of the computation, however they are named and stored."""
    wanted = ["resid_post", "resid_pre"]
    file = extracted(tmp_path, bases["llama"], wanted=wanted)
    network, ids = load(bases["llama"][0].parent), ids_of(bases["llama"])
    with StreamFile(file) as stored:
        assert stored.hooks == [
            f"blocks.{i}.hook_resid_{at}" for i in (0, 1) for at in ("pre", "post")
        ]
        for number, row in enumerate(ids):
            expected = plain_llama(network.state_dict(), network.config, row)
            for hook in stored.hooks:
                np.testing.assert_allclose(
                    stored.read(hook)[number], expected[hook][-1].detach(), rtol=0, atol=1e-6
                )


def test_solved_examples_before_each_prompt(bases, tmp_path):
    """The last rows of the file, in its order; they are no prompts then."""
    rows = [{"prompt": f"{i} + {i} =", "completion": f" {2 * i}"} for i in range(6)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    examples = "4 + 4 = 8\n\n5 + 5 = 10\n\n"
    found = prompt_rows(tmp_path / "rows.jsonl", None, 2)
    assert [row["prompt"] for row in found] == [f"{examples}{i} + {i} =" for i in range(4)]
    assert [row["completion"] for row in found] == [" 0", " 2", " 4", " 6"]
    assert [row["prompt"] for row in prompt_rows(tmp_path / "rows.jsonl", 2)] == [
        "0 + 0 =",
        "1 + 1 =",
    ]
    # Those asked for do not depend on how many prompts there are to be.
    assert prompt_rows(tmp_path / "rows.jsonl", 3, 2) == found[:3]
    with pytest.raises(AtlasError, match="6 rows leave fewer than two prompts beside 5 solved"):
        prompt_rows(tmp_path / "rows.jsonl", None, 5)
    write_jsonl(
        tmp_path / "pairs.jsonl",
        [{"prompt": f"{i}?", "chosen": "A", "rejected": "B"} for i in range(3)],
    )
    assert prompt_rows(tmp_path / "pairs.jsonl", None, 1)[1]["prompt"] == "2?A\n\n1?"
    # What the network reads is what stands in the file.
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    extract_streams(prompts=tmp_path / "rows.jsonl", base=bases["llama"], model=[], most=3, shots=2,
                    base_names=["llama"], dtype="float32", positions="last_token",
                    precision="float32", activations=tmp_path / "a.h5", scratch=scratch)  # fmt: skip
    network, tokens = load(bases["llama"][0].parent), Tokens(bases["llama"][0].parent)
    with StreamFile(tmp_path / "a.h5") as stored:
        assert stored.prompts == [f"{examples}{i} + {i} =" for i in range(3)]
        hook = "blocks.1.hook_resid_post"
        expected = read_streams(network, [tokens.prompt(stored.prompts[2])], "all")[hook][0][-1]
        np.testing.assert_allclose(stored.read(hook)[2], expected, rtol=0, atol=1e-6)


def test_trajectories(bases, tmp_path):
    file = extracted(tmp_path, bases["llama"], positions="all", batch_tokens=40, part_bytes=2000)
    network, ids = load(bases["llama"][0].parent), ids_of(bases["llama"])
    with h5py.File(file) as raw:
        offsets = raw["offsets"][:]
    with StreamFile(file) as stored:
        for hook in stored.hooks:
            found = np.split(stored.read(hook), offsets[1:-1])
            assert [len(one) for one in found] == [len(row) for row in ids]
            for one, row in zip(found, ids, strict=True):
                expected = read_streams(network, [row], "all")[hook][0]
                np.testing.assert_allclose(one, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("positions", ["last_token", "mean", "all"])
def test_a_killed_job_ends_in_the_same_bytes(bases, tmp_path, monkeypatch, positions):
    more = {"positions": positions, "batch_tokens": 30, "part_bytes": 200}
    whole = extracted(tmp_path, bases["llama"], name="whole", **more)
    write = module.write_safetensors
    count = 0

    def dying(place, tensors, metadata):
        nonlocal count
        count += 1
        if count == 2:
            place.write_bytes(b"half")
            raise KeyboardInterrupt
        write(place, tensors, metadata)

    monkeypatch.setattr(module, "write_safetensors", dying)
    with pytest.raises(KeyboardInterrupt):
        extracted(tmp_path, bases["llama"], name="again", **more)
    kept = {
        f.name: f.stat().st_mtime_ns for f in (tmp_path / "scratch-again").glob("*.safetensors")
    }
    assert len(kept) == 1
    again = extracted(tmp_path, bases["llama"], name="again", **more)
    assert again.read_bytes() == whole.read_bytes()
    for name, when in kept.items():
        assert (tmp_path / "scratch-again" / name).stat().st_mtime_ns == when
    # With all parts there, the network is not even loaded.
    monkeypatch.setattr("atlas.networks.shards.load_base", None)
    assert extracted(tmp_path, bases["llama"], name="again", **more).read_bytes() == (
        whole.read_bytes()
    )


def test_models_of_a_base(tiny_base, mixed_pool, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = ids_of(tiny_base)
    for name, files in mixed_pool.items():
        file = extracted(tmp_path, tiny_base, files, name)
        if name == "full":
            network = AutoModelForCausalLM.from_pretrained(files[0].parent, dtype=torch.float32)
        else:
            network = PeftModel.from_pretrained(load(tiny_base[0].parent), files[0].parent)
            network = network.merge_and_unload()
        with StreamFile(file) as found:
            for hook in found.hooks:
                expected = [read_streams(network, [row], "all")[hook][0][-1] for row in ids]
                expected = torch.stack(expected)
                np.testing.assert_allclose(found.read(hook), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gemma2", "olmo2"])
@pytest.mark.parametrize("positions", ["last_token", "all"])
def test_bases_that_are_read_layer_by_layer(bases, tmp_path, monkeypatch, name, positions):
    whole = extracted(tmp_path, bases[name], name="whole", positions=positions, wanted=STREAMS)
    monkeypatch.setenv("DELTA_ATLAS_STREAM", "always")
    monkeypatch.setattr("atlas.networks.shards.load_base", None)
    read = extracted(tmp_path, bases[name], name="read", positions=positions, wanted=STREAMS)
    with StreamFile(whole) as one, StreamFile(read) as two:
        assert one.hooks == two.hooks == hook_names(2, STREAMS)
        for hook in one.hooks:
            np.testing.assert_allclose(two.read(hook), one.read(hook), rtol=0, atol=1e-6)


def test_models_that_are_read_layer_by_layer(tiny_base, mixed_pool, tmp_path, monkeypatch):
    whole = {n: extracted(tmp_path, tiny_base, files, n) for n, files in mixed_pool.items()}
    monkeypatch.setenv("DELTA_ATLAS_STREAM", "always")
    monkeypatch.setattr("atlas.networks.shards.load_base", None)
    for name, files in mixed_pool.items():
        read = extracted(tmp_path, tiny_base, files, f"{name}-read")
        with StreamFile(whole[name]) as one, StreamFile(read) as two:
            for hook in one.hooks:
                np.testing.assert_allclose(two.read(hook), one.read(hook), rtol=0, atol=1e-6)


def test_what_cannot_be_stored(bases, tmp_path, monkeypatch):
    with pytest.raises(AtlasError, match=r"prompt 2 has no tokens; leave it out"):
        extracted(tmp_path, bases["llama"], prompts=["a", ""])
    network = load(bases["llama"][0].parent)
    with torch.no_grad():
        network.base_model.embed_tokens.weight.fill_(1e5)
    monkeypatch.setattr("atlas.networks.shards.load_base", lambda *_, **__: network)
    with pytest.raises(AtlasError, match=r"llama: .* is too large for float16; store"):
        extracted(tmp_path, bases["llama"], name="large", precision="float16")
    assert not (tmp_path / "large.h5").exists()
    extracted(tmp_path, bases["llama"], name="large32")


def test_files_that_are_no_streams(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no")
    with pytest.raises(AtlasError, match="not a whole HDF5 file"):
        StreamFile(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w"):
        pass
    with pytest.raises(AtlasError, match="has no residual streams"):
        StreamFile(tmp_path / "b.h5")
