"""Time of extracting residual streams against a bare forward pass of the same prompts.

    python bench/extraction_speed.py --base results/sources/bases/NAME [--prompts 64]
    python bench/extraction_speed.py --random llama-8b          random weights, for a GPU

The bare pass has no language-model head and the same batches; extraction takes the last token at
every hook, rounds to float16, writes its parts and joins them into the HDF5 file. The two take
turns; the ratio is the median over the repetitions. Without --base, a small random network runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import numpy as np
import torch
from parts.random_models import SHAPES

from atlas import device as devices
from atlas.files import read_json
from atlas.geometry.residual_streams import (
    BATCH_TOKENS,
    PART_BYTES,
    blocks,
    grouped,
    joined,
    length_batches,
    write_parts,
)
from atlas.geometry.stream_files import hook_names, write_streams
from atlas.networks.swap import load_base

SMALL = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8, "vocab_size": 1000,
         "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def load(base: Path | None, dtype: str | None, shapes: str | None = None) -> Any:
    """A base of the workflow, or a random llama: of an architecture by its name, or a small one."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    device = devices.prepare()
    if base is not None:
        return load_base(base, dtype or read_json(base / "base.json")["dtype"], device)
    dtype = dtype or ("bfloat16" if shapes == "llama-8b" else "float32")
    with device:
        network = AutoModelForCausalLM.from_config(
            LlamaConfig(**(SHAPES[shapes] if shapes else SMALL), **ENDS),
            dtype=getattr(torch, dtype),
        )
    return network.eval()


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    wall, busy = time.perf_counter(), time.process_time()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - busy


def measure(network: Any, ids: Sequence[Sequence[int]], repetitions: int) -> None:
    """Measure and print."""
    lengths = [len(row) for row in ids]
    layers = len(blocks(network)[0])
    width = network.get_input_embeddings().weight.shape[1]
    hooks, batches = hook_names(layers), length_batches(lengths, BATCH_TOKENS)
    parts = grouped(batches, lengths, "last_token", len(hooks) * width * 2, PART_BYTES)
    device = next(network.parameters()).device

    @torch.inference_mode()
    def bare() -> None:
        for batch in batches:
            most = max(lengths[i] for i in batch)
            rows = [[*ids[i], *[0] * (most - lengths[i])] for i in batch]
            network.base_model(input_ids=torch.tensor(rows, device=device), use_cache=False)

    def extraction() -> None:
        with tempfile.TemporaryDirectory() as place:
            places = [Path(place) / f"{i}.safetensors" for i in range(len(parts))]
            write_parts(network, ids, parts, places, "last_token", "float16", "network")
            arrays = joined(places, hooks, parts, [1] * len(ids))
            file = Path(place) / "activations.h5"
            write_streams(file, [str(i) for i in lengths], lengths, "last_token", arrays)
            sizes.append(file.stat().st_size)

    sizes: list[int] = []
    found: list[tuple[float, float]] = []
    bare()
    for number in range(repetitions):
        order = (bare, extraction) if number % 2 == 0 else (extraction, bare)
        times = {function: timed(function) for function in order}
        wall, busy = (times[extraction][i] / times[bare][i] for i in range(2))
        found.append((wall, busy))
        print(f"repetition {number + 1}   bare {times[bare][0]:.2f} s, extraction "
              f"{times[extraction][0]:.2f} s, ratio {wall:.3f} ({busy:.3f} by processor time)",
              flush=True)  # fmt: skip
    wall, busy = (statistics.median(values) for values in zip(*found, strict=True))
    raw = len(ids) * len(hooks) * width * 2
    print(f"prompts        {len(ids)} of {min(lengths)} to {max(lengths)} tokens, {len(batches)} "
          f"batches, {len(hooks)} hooks of {width} dimensions, {device}")  # fmt: skip
    print(f"ratio          {wall:.3f} ({busy:.3f} by processor time; median of {repetitions})")
    print(f"file           {sizes[0]} bytes, {sizes[0] / raw:.3f} of the raw float16")


def main(arguments: Sequence[str] | None = None) -> int:
    """Load and measure.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(description="Time extraction and bare passes, two ways.")
    parser.add_argument("--base", type=Path, help="folder of a base that the workflow has made")
    parser.add_argument("--random", choices=SHAPES, help="random weights of this architecture")
    parser.add_argument("--dtype", help="precision of the network; that of the base otherwise")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, nargs=2, default=(40, 160), metavar=("LEAST", "MOST"))
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args(arguments)
    network = load(options.base, options.dtype, options.random)
    draw = np.random.default_rng(0)
    vocabulary = network.get_input_embeddings().weight.shape[0]
    ids = [
        draw.integers(vocabulary, size=int(draw.integers(*options.tokens))).tolist()
        for _ in range(options.prompts)
    ]
    measure(network, ids, options.repetitions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
