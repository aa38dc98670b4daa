"""Time and peak memory of the space salient_mask: the plain way against ours.

    python bench/salient_mask_memory.py

Plain: all |dW| of a model in one vector, untouched weights as zeros, its threshold from
``np.partition``, a boolean mask per model, their cosine. (A model's vector is dropped once it has
a mask; keeping them all would take four times as much again.) Ours: ``atlas.spaces.salient_mask.embed``.
Both run on the same random base and random LoRA adapters, each in a process of its own.
Exits 1 where the similarities are not identical.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import numpy as np
import torch
from parts.own_process import alone
from parts.random_models import write_adapters

from atlas.networks.named_weights import NamedWeights
from atlas.sources.bases import fetch_base
from atlas.spaces.embeddings import read_embeddings
from atlas.spaces.salient_mask import embed, sizes_of_changes
from atlas.weights.tensors import Weights

FILES = ("adapter_config.json", "adapter_model.safetensors")
BASE_FILES = {"record": "base.json", "config": "config.json", "tokenizer": "tokenizer.json",
              "tokenizer_config": "tokenizer_config.json"}  # fmt: skip


def make_pool(place: Path, hidden: int, layers: int, count: int) -> list[Path]:
    """A random base and random adapters on disk.

    :returns: folders of the adapters.
    """
    base = place / "random"
    base.mkdir()
    config = {"hidden_size": hidden, "intermediate_size": 3 * hidden, "num_hidden_layers": layers,
              "num_attention_heads": 8, "num_key_value_heads": 4}  # fmt: skip
    fetch_base(
        name="random", source={"random": {"architecture": "llama", "seed": 0, "config": config}},
        dtype="float32", licence="unknown", cache=str(place / "cache"),
        weight_names=["model.safetensors"], weights=[base / "model.safetensors"],
        **{key: base / name for key, name in BASE_FILES.items()},
    )  # fmt: skip
    store = Weights([base / "model.safetensors"])
    return write_adapters(place / "models", {name: store.shape(name) for name in store}, count)


def plain(base: Path, models: Sequence[Path], share: float) -> np.ndarray[Any, Any]:
    """Cosine of the masks, (n, n) float64, as one would write it down."""
    store = NamedWeights([base])
    start, total = {}, 0
    for name in store:
        start[name] = total
        total += int(np.prod(store.shape(name)))
    count = max(1, int(total * share))
    masks = []
    for model in models:
        vector = np.zeros(total, dtype=np.float32)
        for name, values in sizes_of_changes([model / file for file in FILES], store):
            vector[start[name] : start[name] + values.numel()] = values.numpy()
        limit = np.partition(vector, total - count)[total - count]
        masks.append((vector >= limit) & (vector > 0))
    sizes = [float(mask.sum()) for mask in masks]
    found = np.eye(len(masks))
    for i, one in enumerate(masks):
        for j in range(i):
            shared = int((one & masks[j]).sum())
            found[i, j] = found[j, i] = shared / np.sqrt(sizes[i] * sizes[j])
    return found


def ours(base: Path, models: Sequence[Path], share: float, out: Path) -> np.ndarray[Any, Any]:
    """The same through the workflow's own function."""
    entries = [{"name": m.name, "base": base.parent.name, "domain": "random"} for m in models]
    embed(
        bases=[base], weights=[m / file for m in models for file in FILES], models=entries,
        share=share, embeddings=out,
    )  # fmt: skip
    return read_embeddings(out).cosine_similarity()


def memory(key: str) -> int:
    """VmHWM (the peak of this program alone) or VmRSS, in bytes."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(x for x in status.read_text().splitlines() if x.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def work(way: str, place: Path, count: int, share: float) -> dict[str, Any]:
    """In a process of its own: run one way; time, memory and similarities."""
    torch.set_num_threads(1)
    base = place / "random/model.safetensors"
    models = sorted((place / "models").iterdir())[:count]
    before, start = memory("VmRSS"), time.perf_counter()
    if way == "plain":
        found = plain(base, models, share)
    else:
        found = ours(base, models, share, place / f"{way}-{count}.npz")
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_bytes": memory("VmHWM") - before,
            "similarity": found.tolist()}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(description="Time and memory of salient_mask, two ways.")
    parser.add_argument("--models", type=int, nargs="+", default=[4, 8, 16], help="pool sizes")
    parser.add_argument("--hidden", type=int, default=512, help="width of the random base")
    parser.add_argument("--layers", type=int, default=8, help="layers of the random base")
    parser.add_argument("--share", type=float, default=0.01, help="share of weights in a mask")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return compare(Path(folder), options)


def compare(place: Path, options: argparse.Namespace) -> int:
    """Both ways at each size of the pool."""
    make_pool(place, options.hidden, options.layers, max(options.models))
    store = Weights([place / "random/model.safetensors"])
    total = sum(int(np.prod(store.shape(name))) for name in store)
    adapted = Weights([next((place / "models").iterdir()) / FILES[1]])
    changed = sum(
        int(np.prod(store.shape(name)))
        for name in store
        if f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight" in adapted
    )
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "torch"))
    print(f"versions       Python {platform.python_version()}, {versions}; {platform.machine()}")
    print(f"base           {total:,} weights, of which adapters change {changed:,}")
    print("models    plain: time, peak      ours: time, peak      ratio of peaks")
    same, peaks = True, {}
    for count in sorted(options.models):
        found = {way: alone(work, way, place, count, options.share) for way in ("plain", "ours")}
        same &= found["plain"]["similarity"] == found["ours"]["similarity"]
        shown = {w: f"{r['seconds']:6.2f} s {r['peak_bytes'] / 1e6:8.1f} MB"
                 for w, r in found.items()}  # fmt: skip
        ratio = found["plain"]["peak_bytes"] / found["ours"]["peak_bytes"]
        peaks[count] = {way: r["peak_bytes"] for way, r in found.items()}
        print(f"{count:6}    {shown['plain']}    {shown['ours']}     {ratio:.1f}", flush=True)
    if len(peaks) > 1:
        few, many = sorted(peaks)[-2:]
        grown = {way: (peaks[many][way] - peaks[few][way]) / (many - few) / 1e6
                 for way in ("plain", "ours")}  # fmt: skip
        print(f"growth         from {few} to {many} models, per model: plain {grown['plain']:.2f} MB "
              f"(a byte per weight of the base is {total / 1e6:.2f}), ours {grown['ours']:.2f} MB "
              f"(a packed mask, a bit per changed weight, is {changed / 8e6:.2f})")  # fmt: skip
    print(f"similarities   {'identical' if same else 'NOT identical'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
