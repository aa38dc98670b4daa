"""Texts of adapters that write side by side: those of each by itself, whoever else is there."""

from __future__ import annotations

import json
from contextlib import nullcontext

import peft
import pytest
import torch

from atlas.activations import generation
from atlas.activations.generation import generate_shard, greedy
from atlas.activations.near_ties import NearTies, RoundingError
from atlas.activations.probes import read_probes
from atlas.files import read_jsonl
from atlas.networks import shards
from atlas.networks.shards import loaded_bases
from atlas.networks.tokens import Tokens
from unit.conftest import make_adapter
from unit.networks.kinds import fresh, make_base

NEW_TOKENS = 12
# Of the modules of each base: attention, what else, and what is feed-forward.
MODULES = {
    "llama": (["q_proj", "v_proj"], ["up_proj", "down_proj"], "down_proj"),
    "llama-bf16": (["q_proj", "v_proj"], ["up_proj", "down_proj"], "down_proj"),
    "gemma2": (["k_proj", "o_proj"], ["gate_proj"], "down_proj"),
    "qwen3-moe": (["q_proj", "v_proj"], ["k_proj"], "o_proj"),
    "t5": (["q", "v"], ["wi"], "wo"),
}


def settings(name):
    attention, rest, forward = MODULES[name]

    def lora(targets, r, **more):
        return peft.LoraConfig(target_modules=targets, r=r, lora_alpha=16, **more)

    return {
        "a": lora(attention, 8), "b": lora(attention, 8), "c": lora(attention, 3, use_rslora=True),
        "d": lora(rest, 4), "e": lora(attention[:1], 2, rank_pattern={r".*\.0\..*": 5}),
        "f": peft.IA3Config(target_modules=[*attention, forward], feedforward_modules=[forward]),
    }  # fmt: skip


class Pool:
    """A base and adapters of it that differ in all that they can."""

    def __init__(self, name, folder):
        self.dtype = "bfloat16" if name.endswith("bf16") else "float32"
        self.folder = folder / "base"
        make_base(self.folder, name)
        (self.folder / "base.json").write_text(json.dumps({"name": "base", "weights_sha256": "x"}))
        self.task = "SEQ_2_SEQ_LM" if name == "t5" else "CAUSAL_LM"
        self.files = {}
        for seed, (key, config) in enumerate(settings(name).items()):
            config.task_type = self.task
            self.files[key] = self.adapter(folder / key, config, seed)
        self.probes = folder / "probes.txt"
        self.probes.write_text("Describe it.\nBelow is an instruction.\n\nSay more of it.\n")

    def adapter(self, place, config, seed):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("unit.conftest.load", fresh)
            return make_adapter(self.folder, place, config, seed)

    def shard(self, names):
        return {
            "bases": sorted(self.folder.iterdir()),
            "weights": [file for name in names for file in self.files[name]],
            "models": [{"name": name, "base": "base"} for name in names],
            "dtypes": {"base": self.dtype}, "base_names": {"base": ["base"]},
        }  # fmt: skip

    def texts(self, file, names):
        generate_shard(
            probes=self.probes, new_tokens=NEW_TOKENS, sentences=file, **self.shard(names)
        )
        return {name: [r for r in read_jsonl(file) if r["model"] == name] for name in names}


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    made = {}

    def pool(name):
        if name not in made:
            made[name] = Pool(name, tmp_path_factory.mktemp(name))
        return made[name]

    return pool


def plainly(network, tokens, prompt):
    return tokens.decode(following(network, tokens, prompt, tokens.end))


@torch.inference_mode()
def following(network, tokens, prompt, end):
    """Greedy decoding without a cache, a row and a token at a time."""
    seq2seq = network.config.is_encoder_decoder
    ids = [network.config.decoder_start_token_id] if seq2seq else list(prompt)
    start = len(ids)
    while len(ids) < start + NEW_TOKENS:
        given = torch.tensor([ids])
        whole = (
            {"input_ids": torch.tensor([tokens.encoder(prompt)]), "decoder_input_ids": given}
            if seq2seq
            else {"input_ids": given}
        )
        ids.append(int(network(**whole, use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == end:
            break
    return ids[start:]


@pytest.mark.parametrize("name", ["llama", "llama-bf16", "gemma2", "t5"])
def test_no_text_hangs_on_who_else_is_there(name, pools, tmp_path, monkeypatch):
    pool = pools(name)
    whole = pool.texts(tmp_path / "whole", "abcdef")
    for number, names in enumerate(("abcde", "bdf", "acf", "a", "c", "f")):
        found = pool.texts(tmp_path / str(number), names)
        assert found == {key: whole[key] for key in names}
    # Nor on how many there is room for.
    monkeypatch.setattr(generation, "ROWS", 6)
    assert pool.texts(tmp_path / "two", "abcdef") == whole
    assert (tmp_path / "two").read_bytes() == (tmp_path / "whole").read_bytes()
    assert len({row["text"] for rows in whole.values() for row in rows}) > 6


@pytest.mark.parametrize("name", ["llama", "gemma2", "t5"])
def test_texts_are_those_of_peft(name, pools, tmp_path):
    pool = pools(name)
    tokens = Tokens(pool.folder)
    prompts = [tokens.prompt(text) for text in read_probes(pool.probes)]
    for key, rows in pool.texts(tmp_path / "texts", "abcdef").items():
        network = peft.PeftModel.from_pretrained(fresh(pool.folder), pool.files[key][0].parent)
        assert [r["text"] for r in rows] == [plainly(network.eval(), tokens, p) for p in prompts]


def test_a_batch_has_a_bound(pools, tmp_path, monkeypatch):
    sizes = []
    plain = shards.LoadedBase.groups

    def groups(self, at_most):
        for group in plain(self, at_most):
            hook = self.network.register_forward_pre_hook(
                lambda _, inputs, given: sizes.append(len(given["input_ids"])), with_kwargs=True
            )
            yield group
            hook.remove()

    monkeypatch.setattr(shards.LoadedBase, "groups", groups)
    monkeypatch.setattr(generation, "ROWS", 7)  # two models of three probes
    pools("llama").texts(tmp_path / "texts", "abcdef")
    assert set(sizes) - {1} == {6}


@pytest.mark.parametrize(("dtype", "together"), [("bfloat16", False), ("float32", True)])
def test_experts_below_float32_are_read_for_one_model_at_a_time(
    dtype, together, pools, tmp_path, monkeypatch
):
    pool, given = pools("qwen3-moe"), []

    def greedy(network, tokens, prompts, new_tokens, alone=None):
        given.append((len(prompts), alone is not None))
        return [""] * len(prompts)

    monkeypatch.setattr(pool, "dtype", dtype)
    monkeypatch.setattr(generation, "greedy", greedy)
    pool.texts(tmp_path / "texts", "ab")
    assert given == ([(6, True)] if together else [(3, False), (3, False)])


class Shaken:
    """A base whose logits are off by as much as is said, in batches of more than one row."""

    def __init__(self, pool, off):
        (base,) = loaded_bases(**pool.shard("a"))
        self.network, self.tokens = base.network, Tokens(base.folder)
        self.prompts = [self.tokens.prompt(text) for text in read_probes(pool.probes)]
        self.passes, self.off = [], off
        if off:  # each token has a twin, whose logit is the same to seven digits
            with torch.no_grad():
                head = self.network.lm_head.weight
                head[131:] = head[1:130] * (1 + 1e-7)
        self.network.register_forward_hook(self.shake)

    def shake(self, _, inputs, output):
        self.passes.append(len(output.logits))
        if len(output.logits) > 1:
            output.logits.add_(torch.randn_like(output.logits) * self.off)

    def texts(self, seed, alone=lambda row: nullcontext(), **more):
        torch.manual_seed(seed)
        return greedy(self.network, self.tokens, self.prompts, NEW_TOKENS, alone=alone, **more)


def test_near_ties_are_decided_alone(pools):
    shaken = Shaken(pools("llama"), 3e-7)
    expected = [plainly(shaken.network, shaken.tokens, prompt) for prompt in shaken.prompts]
    shaken.passes.clear()
    assert [shaken.texts(seed) for seed in range(3)] == [expected] * 3
    assert shaken.passes.count(1) > NEW_TOKENS
    assert [shaken.texts(seed, alone=None) for seed in range(3)] != [expected] * 3


def test_what_is_off_by_more_is_not_overlooked(pools):
    shaken = Shaken(pools("llama"), 1e-3)
    with pytest.raises(RoundingError):
        shaken.texts(0)
    expected = [plainly(shaken.network, shaken.tokens, prompt) for prompt in shaken.prompts]
    assert shaken.texts(0, units=torch.inf) == expected


def test_a_shard_that_is_off_by_more_is_written_token_by_token(
    pools, tmp_path, monkeypatch, capsys
):
    pool = pools("llama")
    expected = pool.texts(tmp_path / "expected", "abc")
    calls = []

    class Off(NearTies):
        def __call__(self, *given):
            calls.append(self.rounding)
            if self.rounding < 1:
                raise RoundingError
            return super().__call__(*given)

    monkeypatch.setattr(generation, "NearTies", Off)
    assert pool.texts(tmp_path / "found", "abc") == expected
    assert calls[0] < 1 and calls[1:] == [torch.inf] * NEW_TOKENS
    assert "a, b, c: what they compute together is further off than rounding" in (
        capsys.readouterr().err
    )


def test_a_row_that_has_ended_is_not_read_again(pools):
    shaken = Shaken(pools("llama"), 0.0)
    network, tokens = shaken.network, shaken.tokens
    end = following(network, tokens, shaken.prompts[0], tokens.end)[2]
    alone = [following(network, tokens, prompt, end) for prompt in shaken.prompts]
    assert sorted({len(ids) for ids in alone})[0] <= 3
    assert max(len(ids) for ids in alone) > 3
    shaken.passes.clear()
    assert shaken.texts(0, units=torch.inf, end=end) == [tokens.decode(ids) for ids in alone]
    assert shaken.passes.count(1) == sum(len(ids) for ids in alone)
