"""How fast adapters are trained: plain TRL against ours, on the same rows from the same weights.

    python bench/training_speed.py --random llama-8b --at-once 2 4      for a GPU
    python bench/training_speed.py --random smollm2-135m --device cpu --dtype float32

Plain: TRL's SFTTrainer as a user writes it, rows padded, all but batch, learning rate and adapter at
TRL's defaults (which recompute activations in the backward pass); once more with activations kept.
Ours: ``atlas.training.fine_tuning.make_trainer``, as the rule `train_adapter` calls it, by a recipe; then
with ``padding_free``, and with ``liger`` where it is installed. Each training runs in a process of its
own, with the allocator set as a job of the workflow sets it, which speeds the plain side up too; rounds
are interleaved; making the network and the first steps do not count.

Deviations are from the plain training in float32: the losses of all steps, and what the steps have
added to the adapter. Those of the plain training say what the precision does by itself.

``--at-once N``: N adapters of different seeds, trained by N processes that start their counted steps
together, against the same one after another.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import platform
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import torch
from datasets import Dataset
from embedding_speed import machine, synchronise
from parts.random_models import SHAPES, write_tokenizer
from peft import get_peft_model_state_dict
from transformers import AutoConfig, AutoModelForCausalLM, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

from atlas import device as devices
from atlas.configuration.recipes import Recipe
from atlas.job.entry import keep_memory
from atlas.networks.tokens import load_tokenizer
from atlas.training.fine_tuning import make_trainer, peft_config

# Way of training -> what differs from its kind: TRL's settings, or keys of the recipe.
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "plain, kept": {"gradient_checkpointing": False},
    "ours": {},
    "ours, padding_free": {"padding_free": True},
    "ours, liger": {"liger": True},
    "ours, both": {"padding_free": True, "liger": True},
}
# Sizes: shortest and longest row, medians of prompt and completion, in tokens.
SIZES = {"tiny": (6, 48, 6, 10)}
INSTRUCTIONS = (16, 1024, 50, 120)

Losses = list[float]
Adapter = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Task:
    """One training: plain values, so that another process can be given it."""

    way: str
    network: str
    dtype: str
    folder: str
    recipe: dict[str, Any]
    warm_up: int
    seed: int = 1


@dataclass(frozen=True)
class Run:
    """What came of it; the counted steps begin and end at points of the machine's own clock."""

    started: float
    ended: float
    busy: float  # seconds of the processor between them
    tokens: int
    peak_bytes: int
    losses: Losses
    adapter: Adapter


def make_rows(name: str, count: int) -> list[dict[str, Any]]:
    """Rows as long as those of instruction data: lengths of a log-normal distribution, seeded."""
    shortest, longest, prompt, completion = SIZES.get(name, INSTRUCTIONS)
    draw = random.Random(0)
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        lengths = [round(median * draw.lognormvariate(0, 0.8)) for median in (prompt, completion)]
        if min(lengths) > 1 and shortest <= sum(lengths) <= longest:
            ids = [draw.randrange(4, SHAPES[name]["vocab_size"]) for _ in range(sum(lengths))]
            rows.append({"input_ids": ids, "completion_start": lengths[0]})
    return rows


def rows_of(task: Task) -> list[dict[str, Any]]:
    """As many rows as its steps take."""
    recipe = task.recipe
    return make_rows(
        task.network, recipe["batch_size"] * recipe["accumulation"] * recipe["max_steps"]
    )


def make_network(task: Task, device: torch.device) -> Any:
    """The base with random weights, the same in each process."""
    settings = {**SHAPES[task.network], "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model("llama", **settings)
    attention = devices.attention(task.dtype, device)
    set_seed(0)
    with device:
        network = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, attn_implementation=attention
        )
    # Made in bfloat16, so that all precisions train the same weights.
    return network.to(getattr(torch, task.dtype))


def plain_trainer(
    network: Any, task: Task, rows: list[dict[str, Any]], device: torch.device
) -> Any:
    """TRL's trainer as its documentation writes it."""
    recipe = task.recipe
    starts = [row["completion_start"] for row in rows]
    dataset = Dataset.from_list(
        [{"input_ids": row["input_ids"], "labels": [-100] * start + row["input_ids"][start:]}
         for row, start in zip(rows, starts, strict=True)]
    )  # fmt: skip
    arguments = SFTConfig(
        output_dir=task.folder, per_device_train_batch_size=recipe["batch_size"],
        gradient_accumulation_steps=recipe["accumulation"], max_steps=recipe["max_steps"],
        learning_rate=recipe["learning_rate"], bf16=recipe["bf16"], use_cpu=device.type == "cpu",
        dataloader_pin_memory=device.type == "cuda", seed=task.seed, logging_steps=1,
        save_strategy="no", report_to="none", disable_tqdm=True, **WAYS[task.way],
    )  # fmt: skip
    return SFTTrainer(
        model=network, args=arguments, train_dataset=dataset, peft_config=peft_config(recipe),
        processing_class=load_tokenizer(Path(task.folder)),
    )  # fmt: skip


_together: Any = None  # a barrier, where several processes train at once


class Clock(TrainerCallback):
    """Takes the time of the steps after the first ones, which start together in all processes."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self.task, self.device = task, device
        self.started = self.ended = self.busy = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the time where it counts."""
        if state.global_step == self.task.warm_up:
            synchronise(self.device)
            if _together is not None:
                _together.wait(timeout=600)
            self.started, self.busy = time.monotonic(), time.process_time()
        if state.global_step == state.max_steps:
            synchronise(self.device)
            self.ended, self.busy = time.monotonic(), time.process_time() - self.busy


def _enter(barrier: Any, settings: dict[str, str]) -> None:
    """Begin a process: what libraries print there is not for the reader; an error is passed on."""
    global _together
    _together = barrier
    os.environ.update(settings)
    keep_memory()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)


def train_once(task: Task) -> Run:
    """Train one adapter in this process, which does nothing else."""
    device = devices.prepare(task.seed)
    # The workflow asks for deterministic kernels; a plain script does not.
    torch.use_deterministic_algorithms(task.way.startswith("ours"), warn_only=True)
    rows = rows_of(task)
    network = make_network(task, device)
    set_seed(task.seed)
    if task.way.startswith("plain"):
        trainer = plain_trainer(network, task, rows, device)
    else:
        trainer = make_trainer(
            network, Path(task.folder), rows, task.recipe | WAYS[task.way], task.seed,
            Path(task.folder) / "scratch", device,
        )  # fmt: skip
    clock = Clock(task, device)
    trainer.add_callback(clock)
    before = {k: t.cpu().clone() for k, t in get_peft_model_state_dict(trainer.model).items()}
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    after = get_peft_model_state_dict(trainer.model)
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    key = "tokens" if "tokens" in entries[0] else "num_tokens"
    return Run(
        started=clock.started, ended=clock.ended, busy=clock.busy,
        tokens=int(entries[-1][key] - entries[task.warm_up - 1][key]), peak_bytes=peak(device),
        losses=[entry["loss"] for entry in entries],
        adapter={k: t.detach().cpu().float() - before[k].float() for k, t in after.items()},
    )  # fmt: skip


def peak(device: torch.device) -> int:
    """Most memory of this process: of the GPU what its allocator took, else of the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(tasks: Sequence[Task], settings: dict[str, str]) -> list[Run]:
    """Train each in a process of its own, all at once."""
    # A process that was forked has the libraries already; CUDA needs one that was started anew.
    context = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")
    barrier = context.Barrier(len(tasks)) if len(tasks) > 1 else None
    with ProcessPoolExecutor(
        len(tasks), mp_context=context, initializer=_enter, initargs=(barrier, settings)
    ) as pool:
        return list(pool.map(train_once, tasks))


def deviation(found: Run, reference: Run) -> tuple[float, float, float]:
    """Largest difference of the losses; of what the adapter learnt, by its norm and an element."""
    pairs = zip(found.losses, reference.losses, strict=True)
    losses = max(abs(one - two) for one, two in pairs)
    one, two = (
        torch.cat([run.adapter[key].double().flatten() for key in sorted(reference.adapter)])
        for run in (found, reference)
    )
    return losses, float((one - two).norm() / two.norm()), float((one - two).abs().max())


def compare(task: Task, ways: Sequence[str], rounds: int, settings: dict[str, str]) -> None:
    """Print speed, memory and deviations of the ways, rounds interleaved."""
    exact = replace(task, way="plain", dtype="float32", recipe=task.recipe | {"bf16": False})
    (reference,) = run([exact], settings | {"DELTA_ATLAS_ATTENTION": "auto"})
    found: dict[str, list[Run]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways if number % 2 == 0 else list(reversed(ways)):
            found[way] += run([replace(task, way=way)], settings)
        shown = ", ".join(f"{way} {speed(runs[-1]):,.0f}" for way, runs in found.items())
        print(f"round {number + 1}        {shown} tokens/s", flush=True)
    for way, runs in found.items():
        speeds = [speed(one) for one in runs]
        ratios = [a / speed(b) for a, b in zip(speeds, found["plain"], strict=True)]
        memory = max(one.peak_bytes for one in runs)
        print(f"{way:<20} {statistics.median(speeds):,.0f} tokens/s, {memory / 1e9:.2f} GB, "
              f"{statistics.median(ratios):.2f} times plain "
              f"({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip
    # Other work on the machine moves the times above; it hardly moves these.
    for way, runs in found.items():
        busy = [b.busy / a.busy for a, b in zip(runs, found["plain"], strict=True)]
        print(f"processor, {way:<20} {statistics.median(busy):.2f} times plain")
    for way, runs in found.items():
        losses, norm, element = deviation(runs[0], reference)
        print(f"deviation, {way:<20} losses {losses:.1e}, adapter {norm:.1e} of its norm, element "
              f"{element:.1e}")  # fmt: skip


def speed(one: Run) -> float:
    """Tokens per second; padding is none."""
    return one.tokens / (one.ended - one.started)


def at_once(task: Task, counts: Sequence[int], rounds: int, settings: dict[str, str]) -> None:
    """Print seconds per adapter, some trained at once, against one after another."""
    spent: dict[int, list[float]] = {count: [] for count in (1, *counts)}
    peaks = dict.fromkeys(spent, 0)
    for _ in range(rounds):
        for count in spent:
            runs = run([replace(task, seed=seed) for seed in range(1, count + 1)], settings)
            wall = max(one.ended for one in runs) - min(one.started for one in runs)
            spent[count].append(wall / count)
            peaks[count] = max(peaks[count], sum(one.peak_bytes for one in runs))
    for count, seconds in spent.items():
        ratios = [alone / each for alone, each in zip(spent[1], seconds, strict=True)]
        print(f"at once {count:<12} {statistics.median(seconds):.2f} s per adapter, "
              f"{peaks[count] / 1e9:.2f} GB, {statistics.median(ratios):.2f} times one after "
              f"another ({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


@contextlib.contextmanager
def base_folder(name: str) -> Iterator[str]:
    """A folder with the tokenizer and the configuration of a network."""
    with tempfile.TemporaryDirectory() as place:
        write_tokenizer(Path(place), ["any words will do"])
        AutoConfig.for_model("llama", **SHAPES[name]).save_pretrained(place)
        yield place


def describe(task: Task) -> None:
    """Print what is measured, and on what."""
    lengths = [len(row["input_ids"]) for row in rows_of(task)]
    batch = task.recipe["batch_size"]
    padded = sum(max(lengths[i : i + batch]) * batch for i in range(0, len(lengths), batch))
    quartiles = ", ".join(f"{value:.0f}" for value in statistics.quantiles(lengths, n=4))
    names = ("torch", "transformers", "peft", "trl", "liger-kernel", "flash-attn")
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in names if installed(n))
    print(f"machine        {machine(devices.choose())}")
    print(f"versions       Python {platform.python_version()}, {versions}")
    print(f"rows           {len(lengths)}, quartiles {quartiles} and at most {max(lengths)} tokens; "
          f"{1 - sum(lengths) / padded:.0%} of batches of {batch} is padding")  # fmt: skip
    print(f"training       {task.network}, {task.dtype}, {batch} x {task.recipe['accumulation']} "
          f"rows a step, {task.warm_up} steps before {task.recipe['max_steps'] - task.warm_up} that "
          "count", flush=True)  # fmt: skip


def installed(name: str) -> bool:
    """Whether a distribution is there."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return bool(metadata.version(name))
    return False


def available(way: str, device: str) -> bool:
    """Whether adapters can be trained so on this machine."""
    liger = WAYS[way].get("liger", False)
    return not liger or (
        device != "cpu" and torch.cuda.is_available() and installed("liger-kernel")
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the training of adapters, two ways.")
    parser.add_argument("--random", choices=SHAPES, default="smollm2-135m",
                        help="random weights of this architecture")  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16",
                        help="of the base; with bfloat16, mixed precision too")  # fmt: skip
    parser.add_argument("--attention", choices=("auto", "sdpa", "eager", devices.FLASH),
                        default="auto", help="how attention is computed")  # fmt: skip
    parser.add_argument("--checkpointing", action="store_true", help="ours recomputes, too")
    parser.add_argument("--batch", type=int, default=4, help="rows in a forward pass")
    parser.add_argument("--accumulation", type=int, default=4, help="forward passes in a step")
    parser.add_argument("--steps", type=int, default=20, help="steps that count")
    parser.add_argument("--warm-up", type=int, default=5, help="steps before them")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each way")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY",
                        help="what is compared with plain, of: " + "; ".join(WAYS))  # fmt: skip
    parser.add_argument("--at-once", type=int, nargs="+", default=[], metavar="N",
                        help="adapters trained at once on the one device")  # fmt: skip
    parser.add_argument("--way", choices=[way for way in WAYS if way.startswith("ours")],
                        default="ours, padding_free", help="of the adapters trained at once")  # fmt: skip
    options = parser.parse_args(arguments)
    settings = {
        "DELTA_ATLAS_DEVICE": options.device, "DELTA_ATLAS_ATTENTION": options.attention,
        "OMP_NUM_THREADS": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "HF_HUB_OFFLINE": "1",
        "FLASH_ATTENTION_DETERMINISTIC": "1",
    }  # fmt: skip
    os.environ.update(settings)
    recipe = Recipe(
        objective="sft", parameters="lora", batch_size=options.batch,
        accumulation=options.accumulation, max_steps=options.warm_up + options.steps,
        bf16=options.dtype == "bfloat16", gradient_checkpointing=options.checkpointing,
        checkpoint_steps=10**9,
    ).model_dump(exclude={"rows", "length"})  # fmt: skip
    with base_folder(options.random) as folder:
        task = Task("plain", options.random, options.dtype, folder, recipe, options.warm_up)
        describe(task)
        wanted = [way for way in WAYS if way == "plain" or way in options.ways]
        ways = [way for way in wanted if available(way, options.device)]
        for way in (way for way in wanted if way not in ways):
            print(f"{way:<20} left out: needs liger-kernel and a GPU")
        compare(task, ways, options.rounds, settings)
        if options.at_once:
            at_once(replace(task, way=options.way), options.at_once, options.rounds, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
