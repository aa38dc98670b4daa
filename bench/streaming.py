"""A base that is read layer by layer, against the matrix products alone, and against other ways.

    python bench/streaming.py                                four layers of Llama-3.1-8B, 15 adapters
    python bench/streaming.py --layers 32 --ways stream      all of it: 16 GB of disk

Weights are random, in bfloat16; all compute in float32, each way in a process of its own. ``stream`` is
the rule `compute_shard` with `stream: always`, ``memory`` the same with `stream: never`; ``published``
loads the base, wraps each adapter around it with PEFT, and runs each prompt by itself with its
language-model head and all hidden states. Their seconds are those of the whole job, imports aside.
``products`` are the products of the linear modules of one layer with as many tokens, for the base and
each adapter, times the number of layers.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import torch
from parts.own_process import alone
from parts.random_models import SHAPES, files, make_base, shapes_of, write_adapters, write_tokenizer

from atlas import device as devices
from atlas.activations.last_tokens import compute_shard
from atlas.activations.probes import read_probes
from atlas.files import read_json
from atlas.job.entry import keep_memory
from atlas.networks.tokens import Tokens

WAYS = ("stream", "memory", "published")
PROBES = ROOT / "resources/probes.txt"
GIB = 1 << 30


def models(place: Path) -> list[Path]:
    """Folders of the adapters."""
    return sorted((place / "adapters").iterdir())


def shard(place: Path) -> None:
    """The job of the workflow."""
    adapters = models(place)
    compute_shard(
        probes=PROBES, bases=files(place / "base"), weights=[f for a in adapters for f in files(a)],
        models=[{"name": adapter.name, "base": "base"} for adapter in adapters],
        dtypes={"base": "float32"}, base_names={"base": ["base"]}, activations=place / "shard.h5",
    )  # fmt: skip


@torch.inference_mode()
def published(place: Path) -> None:
    """The published procedure (arXiv 2509.04442)."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(place / "base", dtype=torch.float32).eval()
    tokens = Tokens(place / "base")
    for adapter in models(place):
        wrapped = PeftModel.from_pretrained(network, str(adapter)).eval()
        for prompt in read_probes(PROBES):
            ids = torch.tensor([tokens.prompt(prompt)])
            wrapped(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, -1].numpy()
        network = wrapped.unload()


@torch.inference_mode()
def products(place: Path, repetitions: int = 1) -> float:
    """Seconds of the products of the linear modules, for all layers, the base and each adapter."""
    stored = read_json(place / "base/config.json")
    config = {k: v for k, v in stored.items() if k not in ("model_type", "architectures", "dtype")}
    start = "model.layers.0."
    layer = [s for name, s in shapes_of(config).items() if name.startswith(start) and len(s) == 2]
    tokens = Tokens(place / "base")
    lengths = [len(tokens.prompt(prompt)) for prompt in read_probes(PROBES)]
    count = max(lengths) * len(lengths)
    weights = [torch.randn(shape) for shape in layer]
    inputs = {width: torch.randn(count, width) for _, width in layer}
    linear = torch.nn.functional.linear
    for weight in weights:
        linear(inputs[weight.shape[1]], weight)
    begin = time.perf_counter()
    for _ in range(repetitions * (1 + len(models(place)))):
        for weight in weights:
            linear(inputs[weight.shape[1]], weight)
    spent = (time.perf_counter() - begin) / repetitions
    return spent * int(config["num_hidden_layers"])


def run(way: str, place: Path) -> tuple[float, float]:
    """Seconds of one way, in this process, and its peak memory in GiB."""
    keep_memory()
    devices.prepare()
    if way == "products":
        return products(place), peak()
    for library in ("transformers.models.llama.modeling_llama", "peft"):
        importlib.import_module(library)
    begin = time.perf_counter()
    (published if way == "published" else shard)(place)
    return time.perf_counter() - begin, peak()


def peak() -> float:
    """Peak memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def measured(way: str, place: Path, threads: int) -> tuple[float, float]:
    """Seconds of one way in a process of its own, and its peak memory in GiB."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # which is read by an import
    stream = {"stream": "always", "memory": "never"}.get(way, "auto")
    environment = {"DELTA_ATLAS_DEVICE": "cpu", "DELTA_ATLAS_STREAM": stream}
    return alone(run, way, place, threads=threads, environment=environment)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write random models, run all ways and print.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(description="Time and memory of a base read layer by layer.")
    parser.add_argument("--shapes", choices=SHAPES, default="llama-8b")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, help="tokens (default: those of the shapes)")
    parser.add_argument("--adapters", type=int, default=15)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    parser.add_argument(
        "--place", type=Path, help="where models are written (default: a temporary one)"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.place) as scratch:
        place = Path(scratch)
        config: dict[str, Any] = {**SHAPES[options.shapes], "num_hidden_layers": options.layers}
        config["vocab_size"] = options.vocabulary or config["vocab_size"]
        make_base(place / "base", config, torch.bfloat16)
        write_tokenizer(place / "base", read_probes(PROBES))
        write_adapters(place / "adapters", shapes_of(config), options.adapters, options.rank)
        report(place, options)
    return 0


def report(place: Path, options: argparse.Namespace) -> None:
    """Run each way and print what it took; the products before and after, as machines change."""
    size = (place / "base/model.safetensors").stat().st_size
    print(f"base           {options.layers} layers of {options.shapes}, {size / GIB:.2f} GiB in bfloat16; "
          f"{options.adapters} adapters of rank {options.rank}, {options.threads} threads")  # fmt: skip
    before = measured("products", place, options.threads)[0]
    took = {}
    for way in options.ways:
        took[way], peak = measured(way, place, options.threads)
        print(f"{way:<14} {took[way]:.1f} s, {peak:.2f} GiB", flush=True)
    bare = (before + measured("products", place, options.threads)[0]) / 2
    print(f"products       {bare:.1f} s")
    for way in options.ways:
        print(f"ratio, {way:<7} {took[way] / bare:.2f} times the products")


if __name__ == "__main__":
    sys.exit(main())
