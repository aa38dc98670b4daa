"""Two bases that share nothing, five models, and their features on probes and continuations."""

from __future__ import annotations

from types import SimpleNamespace

import h5py
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from atlas.activations.continuations import read_continuations, sample_continuations
from atlas.activations.feature_files import FEATURES, feature_file
from atlas.activations.features import compute_features
from atlas.activations.probes import read_probes
from atlas.files import read_jsonl, write_jsonl
from unit.conftest import make_base, make_lora

# Sliding windows shorter than a probe, more rows than tokens, a width of its own.
GEMMA = {
    "architecture": "gemma3_text", "seed": 5, "config": {
        "vocab_size": 410, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 3,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
}  # fmt: skip


def write_tokenizer(folder):
    """Another tokenizer: byte-level BPE with merges, which opens each prompt."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<bos>", "<eos>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    text = "Below is an instruction that describes a task. ### Response: ### Instruction: Input: "
    backend.train_from_iterator([text, "Please provide a response. Say more."] * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", backend.token_to_id("<bos>"))]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    ).save_pretrained(folder)


def make_world(folder, tiny_base, mixed_pool):
    """Two bases that share nothing, five models, probes, continuations, and their features."""
    gemma = make_base(folder / "gemma", {"random": GEMMA})
    write_tokenizer(folder / "gemma")
    pool = dict(mixed_pool)
    pool["g"] = make_lora(folder / "gemma", folder / "g", 2, ["q_proj", "up_proj"], 6)
    probes = folder / "probes.txt"
    probes.write_text("Describe it.\nBelow is an instruction.\nSay it.\n")
    sampled = folder / "continuations.jsonl"
    sample_continuations(
        probes=probes, base=tiny_base, dtype="float32", per_probe=3, new_tokens=5, seed=1,
        continuations=sampled,
    )  # fmt: skip
    # Lengths that differ within a probe, one token, and text in which tokens merge.
    rows = [*read_jsonl(sampled), {"probe": 0, "index": 3, "text": " a response."},
            {"probe": 0, "index": 4, "text": "x"}, {"probe": 2, "index": 3, "text": "žluť"}]  # fmt: skip
    write_jsonl(sampled, rows)
    found = SimpleNamespace(
        folder=folder, bases=[*tiny_base, *gemma], pool=pool, probes=probes, sampled=sampled,
        prompts=read_probes(probes), rows=read_continuations(sampled, 3), file=folder / "f.h5",
        models=[{"name": n, "base": "gemma" if n == "g" else "tiny", "domain": d}
                for n, d in zip(pool, "aabbb", strict=True)],
        base_folders={"tiny": tiny_base[0].parent, "gemma": folder / "gemma"},
    )  # fmt: skip
    compute(found, found.file)
    return found


def compute(world, path, models=None, pool=None, bases=None, dtype="float32", **more):
    pool = pool or world.pool
    models = world.models if models is None else models
    bases = bases or world.bases
    compute_features(
        probes=world.probes, continuations=world.sampled, bases=bases,
        weights=[f for m in models for f in pool[m["name"]]],
        models=[{"name": m["name"], "base": m["base"]} for m in models],
        dtypes={f.parent.name: dtype for f in bases},
        base_names={f.parent.name: [f.parent.name] for f in bases}, features=path, **more,
    )  # fmt: skip
    return path


def stored(path, place):
    with h5py.File(path) as file:
        return {key: file[place][key][:] for key in FEATURES}


def invented(path, bases, models, seed=0, probes=("p", "q", "r"), texts=("x",)):
    """A shard of random features; `bases` and `models`: name -> shape of layers."""
    rng = np.random.default_rng(seed)
    rows = [{"probe": 0, "text": text} for text in texts]
    with feature_file(path, probes, rows) as write:
        for group, named in (("bases", bases), ("models", models)):
            for name, (layers, d) in named.items():
                shapes = {"layers": (layers, len(probes), d), "weighted": (len(probes), d),
                          "logits": (len(probes), 7), "meaning": (len(texts),)}  # fmt: skip
                write(f"{group}/{name}",
                      {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()})  # fmt: skip
    return path
