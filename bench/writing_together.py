"""How fast a pool writes: its adapters together against one after another, in one run.

    python bench/writing_together.py --results results          the default pool, once it has been made
    python bench/writing_together.py --random llama-8b          random weights, for a GPU

Both ways are `atlas.activations.generation`, as the rule `generate_shard` calls it; one after another,
each batch holds the probes of one adapter. Reading adapters from disk counts on both sides, loading the
base on neither. The texts are compared; a token is decided alone where two are about equally likely.
Random weights get a head that is their table of embeddings: they are about as sure of their next token
as trained ones, which without would be unsure of each.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import torch
from embedding_speed import FILES, Case, machine, random_case, stored_case, synchronise
from parts.random_models import SHAPES

from atlas.activations import near_ties
from atlas.activations.generation import ROWS, written
from atlas.activations.probes import read_probes
from atlas.files import write_json
from atlas.networks.shards import LoadedBase
from atlas.networks.tokens import Tokens
from atlas.progress import Progress

BASE = "sources/bases/smollm2-135m-instruct-q4"

Texts = dict[tuple[str, int], str]


def write(case: Case, at_most: int, new_tokens: int) -> tuple[float, float, Texts]:
    """Seconds and processor seconds, and text of each model and probe; so many adapters in a batch."""
    files = {folder.name: [folder / name for name in FILES] for folder in case.models}
    base = LoadedBase(
        case.record["name"], case.folder, case.network, files, case.names, Progress(0, "model")
    )
    tokens = Tokens(case.folder)
    ids = [tokens.prompt(prompt) for prompt in case.prompts]
    texts: Texts = {}
    synchronise(case.device)
    start, busy = time.perf_counter(), time.process_time()
    for group in base.groups(at_most):
        found = written(base.network, tokens, ids, group, new_tokens)
        texts |= zip(product(group.names, range(len(ids))), found, strict=True)
    synchronise(case.device)
    return time.perf_counter() - start, time.process_time() - busy, texts


@contextmanager
def counted() -> Iterator[dict[str, Any]]:
    """Of what is written in this context: tokens that were decided alone, and how far rows were off."""
    seen: dict[str, Any] = {"decided": 0, "furthest": 0.0}
    plain = near_ties.NearTies.__call__

    def call(self: Any, *arguments: Any, **more: Any) -> torch.Tensor:
        before = self.decided
        scores = plain(self, *arguments, **more)
        seen["decided"] += self.decided - before
        seen["furthest"] = max(seen["furthest"], self.furthest)
        return scores

    near_ties.NearTies.__call__ = call  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        near_ties.NearTies.__call__ = plain  # type: ignore[method-assign]


def tied(network: Any) -> torch.nn.Linear:
    """A head of the embeddings of a network."""
    weight = network.get_input_embeddings().weight
    head = torch.nn.Linear(*weight.shape[::-1], bias=False, device="meta")
    head.weight = weight
    return head


def measure(case: Case, new_tokens: int, repetitions: int) -> int:
    """Print times of both ways, which take turns, and whether the texts are the same.

    :returns: the exit status: 1 where texts differ.
    """
    ways = {"together": max(1, ROWS // len(case.prompts)), "one after another": 1}
    times: dict[str, list[float]] = {way: [] for way in ways}
    busy: dict[str, list[float]] = {way: [] for way in ways}
    texts: dict[str, Texts] = {}
    whole, case.models = case.models, case.models[:1]
    write(case, 1, 2)
    case.models = whole
    with counted() as seen:
        for number in range(repetitions):
            for way in list(ways)[:: 1 if number % 2 == 0 else -1]:
                wall, processor, texts[way] = write(case, ways[way], new_tokens)
                times[way].append(wall / len(case.models))
                busy[way].append(processor / len(case.models))
            shown = ", ".join(f"{way} {seconds[-1]:.2f} s" for way, seconds in times.items())
            print(f"repetition {number + 1}   {shown} per model", flush=True)
    ratios = [a / b for a, b in zip(times["one after another"], times["together"], strict=True)]
    same = sum(texts["together"][key] == text for key, text in texts["one after another"].items())
    of_all = sum(len(found) for found in texts.values()) * repetitions * new_tokens
    dtype = str(case.network.dtype).removeprefix("torch.")
    print(f"machine        {machine(case.device)}")
    print(f"pool           {len(case.models)} adapters, {len(case.prompts)} prompts, {dtype}, at most "
          f"{new_tokens} new tokens, {ways['together']} adapters in a batch")  # fmt: skip
    for way, seconds in times.items():
        each = statistics.median(seconds)
        print(f"{way:<17} {each:.3f} s per model (median of {repetitions})")
    print(f"ratio          {statistics.median(ratios):.2f} times faster (median of pairs; "
          f"{min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip
    # Other work on the machine moves the times above; it hardly moves these.
    spent = {way: statistics.median(seconds) for way, seconds in busy.items()}
    print(f"processor      {spent['together']:.2f} and {spent['one after another']:.2f} s per model, "
          f"ratio {spent['one after another'] / spent['together']:.2f}")  # fmt: skip
    print(f"texts          {same} of {len(texts['together'])} the same both ways, "
          f"{len(set(texts['together'].values()))} different ones")  # fmt: skip
    print(f"decided alone  {seen['decided']} of at most {of_all} tokens, rows at most "
          f"{seen['furthest']:.3f} of the margin off")  # fmt: skip
    return 0 if same == len(texts["together"]) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    :returns: the exit status: 1 where texts differ.
    """
    parser = argparse.ArgumentParser(description="Time what adapters write, two ways.")
    parser.add_argument("--results", type=Path, default=ROOT / "results", metavar="FOLDER",
                        help="results of a main job")  # fmt: skip
    parser.add_argument("--random", choices=SHAPES, help="random weights of this architecture")
    parser.add_argument("--models", type=int, default=15, help="number of adapters")
    parser.add_argument("--new-tokens", type=int, default=40, help="tokens after each probe")
    parser.add_argument("--repetitions", type=int, default=1, help="paired repetitions")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    options = parser.parse_args(arguments)
    os.environ["DELTA_ATLAS_DEVICE"] = options.device
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ["HF_HUB_OFFLINE"] = "1"
    prompts = read_probes(ROOT / "resources/probes.txt")
    with tempfile.TemporaryDirectory() as place:
        if options.random:
            case = random_case(options.random, options.models, Path(place), prompts)
            case.network.set_output_embeddings(tied(case.network))
            write_json(Path(place) / "base.json", case.record)
        else:
            models = sorted((options.results / "models").glob("smollm2-*"))[: options.models]
            case = stored_case(options.results / BASE, models, prompts)
        return measure(case, options.new_tokens, options.repetitions)


if __name__ == "__main__":
    sys.exit(main())
