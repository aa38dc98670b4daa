"""Direct effects and sketches of dW, per adapter, against hashing the same file in the same run.

    python bench/direct_effects.py [--shapes llama-8b] [--adapters 32] [--rounds 3]

Random adapters (rank 8 on q, k, v, up, gate and down, float32) are written first, and read once, so that all
is measured from memory. What the base reads on five probes is random, too, and its layers share a random
bfloat16 matrix of each shape, so that no 16 GB are written. Times are those of one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import torch
from parts.random_models import SHAPES, files, shapes_of, write_adapters

from atlas.activations.direct_paths import Reader, Writer
from atlas.digests import sha256_file
from atlas.files import write_json
from atlas.networks.architectures import blank, text_path
from atlas.networks.named_weights import NamedWeights, matrix_changes, own_tensors
from atlas.progress import Progress
from atlas.spaces.direct_effects import DirectEffects
from atlas.spaces.sketches import sketched

PROBES = 5
TICK = 0.001  # seconds: less of a processor's time may be told as 0


class SharedMatrices(Mapping[str, torch.Tensor]):
    """A random bfloat16 tensor of each shape, under all names that have this shape."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = shapes
        self._made: dict[tuple[int, ...], torch.Tensor] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        shape = self._shapes[name]
        if shape not in self._made:
            self._made[shape] = (torch.randn(shape) * 0.02).bfloat16()
        return self._made[shape]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


class RandomBase(NamedWeights):
    """A base by its config.json alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.blank = folder, blank(folder)
        self.config, self.tied = self.blank.config, {}
        self.text = text_path(self.blank)
        self._shapes = {name: tuple(t.shape) for name, t in own_tensors(self.blank).items()}
        self._found = SharedMatrices(self._shapes)  # type: ignore[assignment]


def random_paths(config: Mapping[str, Any]) -> dict[str, Writer]:
    """What a llama of these sizes reads, with random values."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    size = width // heads
    columns = torch.arange(width)
    rows = (columns // size) // (heads // groups) * size + columns % size
    writers = {}
    for layer in range(config["num_hidden_layers"]):
        place = f"model.layers.{layer}"
        values = Reader(torch.randn(PROBES, heads, width), rows, columns, columns // size,
                        torch.ones(PROBES, width), transposed=False)  # fmt: skip
        read, every = torch.randn(PROBES, 1, width), torch.arange(inner)
        gated = {
            f"{place}.mlp.{name}_proj": Reader(
                read, every, every, torch.zeros_like(every), torch.randn(PROBES, inner),
                transposed=False,
            ) for name in ("gate", "up")
        }  # fmt: skip
        for name, columns_in, readers in (
            ("self_attn.o_proj", width, {f"{place}.self_attn.v_proj": values}),
            ("mlp.down_proj", inner, gated),
        ):
            writers[f"{place}.{name}"] = Writer(
                torch.randn(PROBES, columns_in), torch.ones(width), torch.ones(PROBES),
                transposed=False, readers=readers,
            )  # fmt: skip
    return writers


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shapes", choices=sorted(SHAPES), default="llama-8b")
    parser.add_argument("--layers", type=int, help="default: all")
    parser.add_argument("--adapters", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = {**SHAPES[given.shapes], "tie_word_embeddings": False}
    config["num_hidden_layers"] = given.layers or config["num_hidden_layers"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "base").mkdir()
        settings = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        write_json(folder / "base" / "config.json", {**settings, **config})
        models = [files(f) for f in write_adapters(folder, shapes_of(config), given.adapters)]
        base = RandomBase(folder / "base")
        effects = DirectEffects(random_paths(config), base)
        names = [f[0].parent.name for f in models]
        weights = [f for found in models for f in found if f.suffix == ".safetensors"]

        def hashed() -> None:
            for file in weights:
                sha256_file(file)

        def sketches() -> None:
            for found in models:
                sketched(matrix_changes(found, base))

        ways = {
            "hashing": hashed,
            "direct effects": lambda: effects.of(models, names, Progress(len(names), "model")),
            "sketches of dW": sketches,
        }
        for way in ways.values():
            way()
        rounds = [{name: timed(way) for name, way in ways.items()} for _ in range(given.rounds)]
        size = sum(file.stat().st_size for file in weights) / len(weights)
        print(f"adapters               {given.adapters} of {size / 1e6:.1f} MB, rank 8, {given.shapes}, "
              f"{config['num_hidden_layers']} layers")  # fmt: skip
        for name in ways:
            wall, used = (
                statistics.median(r[name][i] for r in rounds) / given.adapters for i in (0, 1)
            )
            print(
                f"{name:<22} {wall * 1e3:.1f} ms per adapter ({used * 1e3:.1f} ms of the processor)"
            )
        for name in list(ways)[1:]:
            ratios = sorted(r[name][1] / max(r["hashing"][1], TICK) for r in rounds)
            print(f"ratio, {name:<15} {statistics.median(ratios):.2f} times hashing, of the processor "
                  f"({ratios[0]:.2f} to {ratios[-1]:.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
