"""Memory: deltas and merged models are made of blocks, whatever the size of the models."""

import json
import sys
from pathlib import Path

import pytest

import programs
from atlas.digests import sha256_file
from atlas.files import write_json
from unit.deltas.instruction_models import files

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
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
    """Zeros in bfloat16 that take no room on the disk: two matrices of 128 MiB, embeddings."""
    shapes = {"model.embed_tokens.weight": [rows, 4096], "model.layers.0.mlp.down_proj.weight":
              [4096, 16384], "model.layers.0.mlp.up_proj.weight": [16384, 4096]}  # fmt: skip
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
    command = [sys.executable, "-c", MEASURE, str(SCRIPTS), step]
    done = programs.run([*command, json.dumps(arguments, default=str)], libraries=["torch"])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_model(tmp_path):
    base = sparse_model(tmp_path / "base", 8192)
    digest = sha256_file(base / "model.safetensors")
    record = {"name": "base", "licence": "mit", "weights_sha256": digest, "origin": {}}
    write_json(base / "base.json", record)
    model = sparse_model(tmp_path / "model", 8192, {"base_sha256": digest})
    assert (model / "model.safetensors").stat().st_size > 2**28
    delta, meta = tmp_path / "delta.safetensors", tmp_path / "delta_meta.json"
    used = measure("make", {
        "name": "d", "base": files(base), "instruct": files(model), "dtype": "float16",
        "keep": None, "rank": None, "delta": delta, "meta": meta,
    })  # fmt: skip
    assert used < 96  # less than one matrix
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
    assert used < 96
