"""Every figure that needs a GPU, in one go of at most eight minutes, with random weights.

    python bench/gpu.py --out gpu.json
    python bench/gpu.py --small --out small.json        the same at micro size on a CPU, to rehearse it

It runs the other benchmarks at eight billion parameters in bfloat16, each in a process of its own with a
budget of seconds, and prints one table in Markdown with the card and the version of PyTorch. What a
benchmark has printed when its budget ends still counts; what it has not is named, and the exit status
is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import platform
import re
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import torch

NUMBER = r"([\d.,]+)"
WAYS = "--ways ours 'ours, padding_free' 'ours, both'"  # of training; both: liger, too


@dataclass(frozen=True)
class Figure:
    """One figure of a benchmark.

    :param pattern: of the line that has it; its group is the number.
    :param target: what it should be, as people read it.
    :param optional: whether a machine may have none: no GPU, no liger-kernel.
    """

    what: str
    pattern: str
    unit: str
    target: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Part:
    """One benchmark: its arguments at full size and at micro size, seconds, and what it finds."""

    module: str
    full: str
    small: str
    budget: int
    figures: tuple[Figure, ...]

    def command(self, small: bool) -> str:
        """As one types it."""
        return f"python bench/{self.module}.py {self.small if small else self.full}"


@dataclass(frozen=True)
class Found:
    """A figure with what it was measured by; no value: there is none."""

    part: str
    what: str
    value: float | None
    unit: str
    target: str
    command: str


def of_training(way: str, optional: bool = False) -> tuple[Figure, ...]:
    """Speed of a way to train."""
    start = rf"^{re.escape(way)} +"
    return (
        Figure(f"training, {way}", rf"{start}{NUMBER} tokens/s", "tokens/s", "", optional),
        Figure(
            f"training, {way}, against plain TRL", rf"{start}.*GB, {NUMBER} times plain", "times", "",
            optional,
        ),
    )  # fmt: skip


def of_several(count: int) -> tuple[Figure, ...]:
    """Speed of some adapters trained at once."""
    start = rf"^at once {count} +"
    return (
        Figure(f"{count} adapters at once", rf"{start}{NUMBER} s per adapter", "s per adapter"),
        Figure(
            f"{count} adapters at once, against one after another",
            rf"{start}.*GB, {NUMBER} times one after", "times",
        ),
    )  # fmt: skip


PARTS = (
    Part(
        "embedding_speed", "--random llama-8b --adapters 6 --repetitions 2",
        "--random tiny --adapters 2 --repetitions 1 --device cpu", 90,
        (
            Figure("embedding, ours", rf"^ours +{NUMBER} ms per", "ms per adapter", "at most 150"),
            Figure("embedding, published", rf"^published +{NUMBER} ms per", "ms per adapter"),
            Figure("embedding, against the published way", rf"^ratio +{NUMBER} times", "times"),
            Figure("embedding, floor by bytes", rf"^floor, bytes +{NUMBER} ms", "ms per adapter",
                   optional=True),
            Figure("embedding, floor by operations", rf"^floor, work +{NUMBER} ms", "ms per adapter",
                   optional=True),
        ),
    ),
    Part(
        "writing_together", "--random llama-8b --models 8",
        "--random tiny --models 2 --new-tokens 4 --device cpu", 80,
        (
            Figure("writing together", rf"^together +{NUMBER} s per model", "s per model"),
            Figure("writing one after another", rf"^one after another +{NUMBER} s per model",
                   "s per model"),
            Figure("writing together, against one after another", rf"^ratio +{NUMBER} times",
                   "times", "at least 3"),
            Figure("texts that are the same", rf"^texts +{NUMBER} of", "texts", "all"),
        ),
    ),
    Part(
        "extraction_speed", "--random llama-8b --prompts 64 --repetitions 2",
        "--random tiny --prompts 4 --tokens 4 9 --repetitions 1", 60,
        (Figure("residual streams, against a bare forward", rf"^ratio +{NUMBER} \(", "times"),),
    ),
    Part(
        "training_speed", f"--random llama-8b --steps 4 --warm-up 1 --rounds 1 --at-once 2 4 {WAYS}",
        "--random tiny --device cpu --dtype float32 --batch 2 --accumulation 1 --steps 2 --warm-up 1 "
        f"--rounds 1 --at-once 2 4 {WAYS}", 240,
        (
            *of_training("plain")[:1], *of_training("ours"), *of_training("ours, padding_free"),
            *of_training("ours, both", optional=True), *of_several(2), *of_several(4),
        ),
    ),
)  # fmt: skip


def read(part: Part, shown: str, small: bool) -> list[Found]:
    """Figures of a benchmark, from what it printed; those that it may leave out only where they are."""
    found = []
    for figure in part.figures:
        match = re.search(figure.pattern, shown, re.MULTILINE)
        if match or not figure.optional:
            value = float(match[1].replace(",", "")) if match else None
            found.append(
                Found(part.module, figure.what, value, figure.unit, "" if small else figure.target,
                      part.command(small))
            )  # fmt: skip
    return found


def run(part: Part, small: bool, place: Path) -> tuple[str, str]:
    """Run a benchmark in a process of its own, and all that it starts in one group with it.

    :returns: what it printed, and what went wrong, in words; nothing where nothing did.
    """
    # A process that was forked has the libraries already; CUDA needs one that was started anew.
    context = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")
    file = place / f"{part.module}.txt"
    process = context.Process(
        target=_enter, args=(part.module, part.small if small else part.full, file)
    )
    # A rehearsal may share its machine with others.
    budget = part.budget * (4 if small else 1)
    process.start()
    process.join(budget)
    trouble = ""
    if process.is_alive():
        trouble = f"took longer than its {budget} s"
        assert process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    elif process.exitcode:
        trouble = f"ended with the exit status {process.exitcode}"
    return file.read_text() if file.exists() else "", trouble


def _enter(module: str, arguments: str, file: Path) -> None:
    os.setsid()
    with file.open("w", buffering=1) as stream:
        os.dup2(stream.fileno(), 1)
        sys.stdout = os.fdopen(1, "w", buffering=1)
        status = importlib.import_module(module).main(shlex.split(arguments))
    sys.exit(status)


def table(found: Sequence[Found], device: str) -> str:
    """All figures in Markdown."""
    versions = ", ".join(
        f"{n} {metadata.version(n)}" for n in ("torch", "transformers", "trl", "peft")
    )
    lines = [f"{device}; Python {platform.python_version()}, {versions}", ""]
    lines += ["| what | figure | target | command |", "|---|--:|---|---|"]
    before = ""
    for one in found:
        figure = "missing" if one.value is None else f"{one.value:,g} {one.unit}"
        command = "the same" if one.command == before else f"`{one.command}`"
        lines.append(f"| {one.what} | {figure} | {one.target} | {command} |")
        before = one.command
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all benchmarks and print what they found.

    :returns: the exit status: 1 where a figure is missing or a benchmark failed.
    """
    parser = argparse.ArgumentParser(description="Make all figures that need a GPU.")
    parser.add_argument("--small", action="store_true", help="at micro size on a CPU")
    parser.add_argument("--out", type=Path, help="a file for the figures as JSON")
    parser.add_argument("--parts", nargs="+", default=[part.module for part in PARTS],
                        choices=[part.module for part in PARTS], help="some of the benchmarks")  # fmt: skip
    options = parser.parse_args(arguments)
    if not options.small and not torch.cuda.is_available():
        parser.error("torch sees no GPU; --small rehearses it on a CPU")
    if options.small:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.environ["DELTA_ATLAS_DEVICE"] = "cpu"
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not torch.cuda.is_available():
        for module in options.parts:
            importlib.import_module(module)
    found: list[Found] = []
    troubles = {}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        for part in (part for part in PARTS if part.module in options.parts):
            begun = time.perf_counter()
            shown, trouble = run(part, options.small, Path(place))
            found += read(part, shown, options.small)
            if trouble:
                troubles[part.module] = trouble
            print(f"{part.module}: {trouble or 'done'}, {time.perf_counter() - begun:.0f} s",
                  file=sys.stderr, flush=True)  # fmt: skip
    seconds = time.perf_counter() - start
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    if options.out:
        whole = {
            "device": device, "torch": torch.__version__, "small": options.small,
            "seconds": seconds, "troubles": troubles, "figures": [asdict(one) for one in found],
        }  # fmt: skip
        options.out.write_text(json.dumps(whole, indent=2) + "\n")
    print(table(found, device))
    return 1 if troubles or any(one.value is None for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
