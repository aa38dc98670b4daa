"""A pool of adapters that somebody made to do harm, and of two good ones, looked at in one job."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import struct
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from atlas import guarded_patterns
from atlas.activations.fetched_shards import check_shard
from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.sources.fetched_models import bring_adapter, bring_full

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Q = "base_model.model.model.layers.0.self_attn.q_proj"
A, B = f"{Q}.lora_A.weight", f"{Q}.lora_B.weight"
DEEP = "[" * 100_000 + "]" * 100_000
ENDLESS = "(a|a|.)*(.|q)*(.*)*x"
DORA = {"use_dora": True}


def text(change):
    """The configuration as a text, altered as such."""
    return lambda folder: (folder / CONFIG).write_text(change((folder / CONFIG).read_text()))


def put(key, value):
    """One key of the configuration with a value that is written as it stands."""

    def change(old):
        found = json.loads(old)
        found.pop(key, None)
        return json.dumps(found)[:-1] + f', "{key}": {value}}}'

    return text(change)


def says(**settings):
    return text(lambda old: json.dumps(json.loads(old) | settings))


def tensors(change):
    def alter(folder):
        found = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        save_file(change(found), folder / WEIGHTS)

    return alter


def one(name, make):
    return tensors(lambda found: found | {name: make(found[name])})


def header(entries, size=0):
    """A safetensors file whose header says this, with so many bytes after it."""

    def write(folder):
        data = json.dumps(entries).encode() if not isinstance(entries, bytes) else entries
        (folder / WEIGHTS).unlink()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(data)) + data + bytes(size))

    return write


def both(*changes):
    def alter(folder):
        for change in changes:
            change(folder)

    return alter


def pickled(folder):
    (folder / WEIGHTS).write_bytes(b"PK\x03\x04" + bytes(100))


def a_folder(name):
    def make(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return make


def a_pipe(folder):
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)


def first_of(found):
    """The tensors without one half of a pair."""
    return {name: tensor for name, tensor in found.items() if name != B}


# Name -> what is done to a good adapter, and a part of the sentence that it is refused with.
HOSTILE = {
    "nested": (text(lambda _: DEEP), "not a JSON file .*nested more than 100 deep"),
    "nested-value": (put("eva_config", DEEP), "nested more than 100 deep"),
    "digits": (put("r", "9" * 5_000), "a number has 5,000 digits"),
    "digits-300": (put("lora_alpha", "9" * 300), "lora_alpha says"),
    "not-json": (text(lambda old: old[:-20]), "not a JSON file"),
    "list": (text(lambda _: "[1, 2]"), "not a JSON object, but list"),
    "null": (text(lambda _: "null"), "not a JSON object, but NoneType"),
    "empty": (text(lambda _: ""), "not a JSON file"),
    "utf16": (lambda f: (f / CONFIG).write_bytes(b"\xff\xfe{\x00}\x00"), "not a JSON file"),
    "surrogate": (put("revision", r'"\ud800"'), "half a surrogate pair"),
    "folder-config": (a_folder(CONFIG), f"has no {CONFIG}"),
    "folder-weights": (a_folder(WEIGHTS), f"has no {WEIGHTS}"),
    "pipe": (a_pipe, f"has no {CONFIG}"),
    "no-type": (put("peft_type", "7"), "names no peft_type"),
    "type-code": (says(peft_type="__import__('os')"), "peft_type says"),
    "type-unknown": (says(peft_type="NOSUCH"), "has no adapters of the kind NOSUCH"),
    "alpha-nan": (put("lora_alpha", "NaN"), "NaN is no number of JSON"),
    "alpha-inf": (put("lora_alpha", "1e999"), "1e999… has no place in 64 bits"),
    "alpha-minus-infinity": (put("lora_alpha", "-Infinity"), "-Infinity is no number"),
    "alpha-true": (says(lora_alpha=True), "lora_alpha says 'True'"),
    "alpha-text": (says(lora_alpha="16"), "lora_alpha says '16'"),
    "alpha-null": (says(lora_alpha=None), "lora_alpha says 'None'"),
    "alpha-list": (says(lora_alpha=[16]), "lora_alpha says"),
    "alpha-huge": (says(lora_alpha=1e300), "lora_alpha says '1e.300'"),
    "rank-0": (says(r=0), "r says '0'"),
    "rank-minus": (says(r=-4), "r says '-4'"),
    "rank-true": (says(r=True), "r says 'True'"),
    "rank-text": (says(r="4"), "r says '4'"),
    "rank-half": (says(r=4.5), r"r says '4\.5'"),
    "rank-huge": (says(r=2**60), "r says"),
    "rank-other": (says(r=5), "has the rank 4 .*configuration says 5"),
    "pattern-list": (says(rank_pattern=["q_proj"]), "rank_pattern says"),
    "pattern-text": (says(alpha_pattern="q_proj"), "alpha_pattern says"),
    "pattern-zero": (says(rank_pattern={"q_proj": 0}), r"rank_pattern\.q_proj says '0'"),
    "pattern-true": (says(alpha_pattern={"q_proj": True}), r"alpha_pattern\.q_proj says 'True'"),
    "pattern-wrong": (says(rank_pattern={"(": 4}), r"the pattern .*\(.* cannot be tried"),
    "pattern-nested": (says(rank_pattern={"(" * 4_000 + ")" * 4_000: 4}), "cannot be tried"),
    "pattern-long": (says(alpha_pattern={"a" * 20_000: 4}), "alpha_pattern"),
    "pattern-endless": (says(rank_pattern={ENDLESS: 4}), "cannot be tried .*more than .* seconds"),
    "alpha-endless": (says(alpha_pattern={ENDLESS: 4}), "cannot be tried .*more than .* seconds"),
    "targets-endless": (says(target_modules=ENDLESS, **DORA), "cannot be tried .*seconds"),
    "saved-endless": (says(modules_to_save=[ENDLESS], **DORA), "cannot be tried .*seconds"),
    "layers-endless": (
        says(layers_pattern=ENDLESS, layers_to_transform=[0], **DORA), "cannot be tried .*seconds",
    ),
    "targets-number": (says(target_modules=7), "target_modules"),
    "replicated": (says(layer_replication=[[0, 10**9]]), r"layer_replication\.0"),
    "layers": (says(layers_to_transform=10**12, **DORA), "layers_to_transform"),
    "auto-map": (says(auto_map={"AutoModel": "evil.Model"}), "auto_map says"),
    "auto-mapping": (
        says(auto_mapping={"base_model_class": "M", "parent_library": "evil.module"}),
        "auto_mapping says .*names code to import",
    ),
    "remote": (
        says(auto_mapping={"base_model_class": "M", "parent_library": "transformers_modules.evil"}),
        "names code to import",
    ),
    "megatron": (says(megatron_config={"a": 1}, megatron_core="evil"), "megatron_core says"),
    "prompt-code": (
        says(peft_type="PROMPT_TUNING", tokenizer_kwargs={"trust_remote_code": True}),
        "tokenizer_kwargs",
    ),
    "tokens": (says(peft_type="PROMPT_TUNING", num_virtual_tokens=10**12), "num_virtual_tokens"),
    "vera-rank": (says(peft_type="VERA", r=2**62), "r says"),
    "int8": (one(A, lambda t: t.to(torch.int8)), "is int8"),
    "uint8": (one(A, lambda t: t.to(torch.uint8)), "is uint8"),
    "int64": (one(A, lambda t: t.long()), "is int64, and weights are"),
    "bool": (one(A, lambda t: t > 0), "is bool, and weights are"),
    "complex": (one(A, lambda t: t.to(torch.complex64)), "is complex64, and weights are"),
    "nan": (one(A, lambda t: t * float("nan")), "has NaN or Inf"),
    "inf": (one(A, lambda t: t / 0), "has NaN or Inf"),
    "float64-inf": (one(A, lambda t: t.double() / 0), "has NaN or Inf"),
    "float64-large": (
        one(A, lambda t: torch.full(t.shape, 1e300, dtype=torch.float64)), "NaN or Inf",
    ),
    "no-elements": (one(A, lambda t: t[:0]), "is empty"),
    "scalar": (one(A, lambda t: t.sum()), "not both matrices"),
    "flat": (one(B, lambda t: t.flatten()), "not both matrices"),
    "cube": (one(A, lambda t: t[None]), "not both matrices"),
    "half": (tensors(first_of), "only one of lora_A and lora_B"),
    "none": (tensors(lambda _: {}), "no tensors"),
    "twice": (
        tensors(lambda found: found | {f"{Q}.lora_A.default.weight": found[A].clone()}), "twice",
    ),
    "other-base": (
        tensors(lambda found: {n: torch.ones(4, 4) for n in found}), "is made for a matrix of shape",
    ),
    "other-module": (
        both(says(target_modules=["x_proj", "v_proj"]), tensors(
            lambda found: {n.replace("q_proj", "x_proj"): t for n, t in found.items()})),
        "the base has no module",
    ),
    "traversal": (
        both(says(target_modules=None), tensors(
            lambda found: {n.replace("q_proj", "../../x"): t for n, t in found.items()})),
        "the base has no module",
    ),
    "other-targets": (says(target_modules=["v_proj"]), "has weights of .*q_proj, .*target_modules"),
    "other-layers": (says(layers_to_transform=[1]), r"has weights of .*layers\.0\..*to_transform"),
    "tokens-of-lora": (
        says(peft_type="ADALORA", alora_invocation_tokens=[1]), "alora_invocation_tokens says",
    ),
    "pattern-of-others": (says(peft_type="LOHA", rank_pattern=True), "rank_pattern says 'True'"),
    "no-task": (
        text(lambda _: '{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}'),
        "names no task_type, and PEFT puts PROMPT_TUNING before a text only for a task",
    ),
    "norm": (
        both(text(lambda _: '{"peft_type": "IA3"}'), tensors(lambda _: {
            "base_model.model.model.norm.ia3_l": torch.ones(16, 1)})),
        "is made for a matrix of shape",
    ),
    "long-name": (
        tensors(lambda found: {"x" * 100_000: found[A]}), "a name of 100,000 characters",
    ),
    "escape-name": (
        tensors(lambda found: {"\x1b[2Kwhole": found[A]}), r"\\x1b\[2Kwhole",
    ),
    "many": (
        header(b"{%s}" % b",".join(
            b'"t%d": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}' % i
            for i in range(200_000))),
        "has 200,000 tensors",
    ),
    "pickle": (pickled, "a pickle, which may run code"),
    "cut": (lambda f: os.truncate(f / WEIGHTS, 400), "not a whole safetensors file"),
    "sparse": (lambda f: os.truncate(f / WEIGHTS, 1 << 36), "has 65,536 MiB, and no model of its base"),
    "no-weights": (lambda f: os.truncate(f / WEIGHTS, 0), "not a whole safetensors file"),
    "header-nested": (header(DEEP.encode()), "not a whole safetensors file"),
    "header-large": (
        lambda f: (f / WEIGHTS).write_bytes(b"\xff" * 8 + b"{}"), "not a whole safetensors file",
    ),
    "header-beyond": (
        header({A: {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        "not a whole safetensors file",
    ),
    "header-overlaps": (
        header({A: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                B: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 8),
        "not a whole safetensors file",
    ),
    "shape-overflows": (
        header({A: {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}, 4),
        "not a whole safetensors file",
    ),
    "shape-negative": (
        header({A: {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, 4),
        "not a whole safetensors file",
    ),
}  # fmt: skip
GOOD = ("a-good", "z-good")


@pytest.fixture(scope="module")
def looked_at(tiny_base, mixed_pool, tmp_path_factory):
    """The report of the pool, what it took, and every file that was there before and after."""
    top = tmp_path_factory.mktemp("hostile")
    for name in (*HOSTILE, *GOOD):
        folder = top / "found" / name
        shutil.copytree(mixed_pool["lora4"][0].parent, folder)
        if name in HOSTILE:
            HOSTILE[name][0](folder)
    models = [{"name": n, "base": "tiny", "source": {"local": str(top / "found" / n)}, "adapter": True}
              for n in (*HOSTILE, *GOOD)]  # fmt: skip
    before, modules = files(top), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guarded_patterns, "SECONDS", 0.2)
        start, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        check_shard(
            bases=tiny_base[:4], models=models, base_names={"tiny": ["lab/base"]},
            cache=str(top / "cache"), report=top / "report.csv",
        )  # fmt: skip
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    took = time.process_time() - start, grown / 2**20
    rows = {row["model"]: row["reason"] for row in read_csv(top / "report.csv")}
    return rows, took, (before, files(top)), set(sys.modules) - modules


def files(top):
    return {str(f.relative_to(top)) for f in top.rglob("*")}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_in_a_sentence(looked_at, name):
    reason = looked_at[0][name]
    assert re.search(HOSTILE[name][1], reason), reason
    assert "damaged" not in reason  # what nobody thought of
    assert len(reason) < 1_000 and reason.isprintable()


@pytest.mark.parametrize("name", GOOD)
def test_the_others_of_its_pool_are_unharmed(looked_at, name):
    assert looked_at[0][name] == ""


def test_it_took_little_and_nothing_was_left_or_run(looked_at):
    _, (seconds, gigabytes), (before, after), modules = looked_at
    assert seconds < 60
    assert gigabytes < 1
    assert after - before == {"report.csv", "cache"}
    assert before <= after
    assert not [name for name in modules if "evil" in name]


@pytest.mark.parametrize(
    "name", ["../../escaped.safetensors", "/tmp/escaped.safetensors", "a/b.safetensors", "..",
             "x.bin", "", 7, None, "a\x00.safetensors", "~/x.safetensors", "a\\..\\b.safetensors",
             "x" * 300 + ".safetensors"],
    ids=range(12),
)  # fmt: skip
def test_an_index_that_leads_out_of_its_folder_is_refused(tiny_base, tmp_path, name):
    folder = tmp_path / "found/model"
    folder.mkdir(parents=True)
    for file in tiny_base[1:4]:
        shutil.copy(file, folder)
    shutil.copy(tiny_base[-1], tmp_path / "escaped.safetensors")
    index = {"weight_map": {"a": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (target := tmp_path / "job/model").mkdir(parents=True)
    with pytest.raises(AtlasError, match="is no safetensors file beside it"):
        bring_full({"local": str(folder)}, tmp_path / "cache", target, tiny_base, 1 << 30)
    assert not list((tmp_path / "job").rglob("escaped*"))


def test_a_full_model_with_tokens_of_its_own(tiny_base, tmp_path):
    folder = tmp_path / "found"
    folder.mkdir()
    for file in tiny_base[1:]:
        shutil.copy(file, folder)
    (target := tmp_path / "job").mkdir()
    bring_full({"local": str(folder)}, tmp_path / "cache", target, tiny_base, 1 << 30)
    settings = json.loads((folder / "tokenizer.json").read_text())
    words = settings["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    (other := tmp_path / "other").mkdir()
    with pytest.raises(AtlasError, match=r"the vocabularies differ: token \d+ is 'b'"):
        bring_full({"local": str(folder)}, tmp_path / "cache", other, tiny_base, 1 << 30)


def test_a_checkpoint_of_a_full_model_is_no_pickle(tmp_path):
    for name in ("config.json", "model.safetensors", "optimizer.pt", "training_args.bin"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(
        AtlasError, match=r"has no adapter_config\.json; it is a full model, .*kind: full"
    ):
        bring_adapter({"local": str(tmp_path)}, tmp_path, tmp_path / "out", 1 << 30)


def test_a_folder_of_pickles_is_refused(tmp_path):
    (tmp_path / CONFIG).write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(AtlasError, match=r"adapter_model\.bin is a pickle, which is refused"):
        bring_adapter({"local": str(tmp_path)}, tmp_path, tmp_path / "out", 1 << 30)
