"""Time and peak memory of an instruction delta: the published way, ours, and a plain copy.

    python bench/instruction_delta.py                       # shapes of a 135M model
    python bench/instruction_delta.py --shapes llama-8b     # those of an 8B model, four layers
    python bench/instruction_delta.py --shapes llama-8b --ways copy ours
    python bench/instruction_delta.py --mergekit PYTHON     # interpreter that has mergekit

Published: load both models whole with transformers, subtract their state dicts, save; then load
model and delta whole, add, save. Ours: ``make_delta`` and ``apply_delta`` as a job calls them: the
run has taken the digests of their inputs (when they were made, or once for all of its jobs), and
the output is hashed. Alone: the same functions with no such run, so that they hash all that they
read. Copy: the same bytes copied, that is every weight file of the step read whole and as many bytes
written as ours writes, in blocks of 8 MiB, nothing hashed. mergekit: its task arithmetic of model
and instruct, which is both steps at once. Every way ends with fsync, runs on the same files, which
are in the page cache, in a process of its own, and is measured after its imports; ways take turns,
and the best of several rounds counts. Merged weights are compared with the float64 answer; exits 1
where ours are farther from it than others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import torch
from parts.own_process import alone
from parts.random_models import MODELS, SHAPES, files, make_models

from atlas.deltas.instruction_deltas import half_ulp, make_delta
from atlas.deltas.merged_models import apply_delta
from atlas.files import read_json
from atlas.job.digest_cache import DigestCache
from atlas.weights.row_blocks import Digests, WeightStream, row_blocks

LAYERS = {"llama-8b": 4}  # where not all of them
STEPS = ("make", "apply")


def published(step: str, place: Path, out: Path) -> None:
    """Both models whole in memory."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    def load(name: str) -> Any:
        return AutoModelForCausalLM.from_pretrained(place / name, dtype="auto")

    if step == "make":
        base, instruct = load("base").state_dict(), load("instruct").state_dict()
        delta = {
            key: (instruct[key].float() - base[key].float()).half()
            for key in base
            if not (key == "lm_head.weight" and tied(base))
        }
        save_file(delta, out / "delta.safetensors")
        sync(out)
        return
    network = load("model")
    delta = load_file(place / "published" / "delta.safetensors")
    state = network.state_dict()
    with torch.no_grad():
        for key, values in delta.items():
            state[key].copy_(state[key].float() + values.float())
    network.save_pretrained(out)
    sync(out)


def tied(state: dict[str, torch.Tensor]) -> bool:
    """Whether output and input embeddings are one."""
    return state["lm_head.weight"].data_ptr() == state["model.embed_tokens.weight"].data_ptr()


def ours(step: str, place: Path, out: Path, digests: Digests | None) -> None:
    """Through the workflow's own functions."""
    if step == "make":
        make_delta(
            name="delta", base=files(place / "base"), instruct=files(place / "instruct"),
            dtype="float16", keep=None, rank=None, delta=out / "delta.safetensors",
            meta=out / "delta_meta.json", digests=digests,
        )  # fmt: skip
        return
    apply_delta(
        name="model+delta", model=files(place / "model"), model_base=files(place / "base"),
        base_names=["base"], base=files(place / "base"), instruct=files(place / "instruct"),
        delta=place / "ours" / "delta.safetensors", meta=place / "ours" / "delta_meta.json",
        force=False, address=["base", None], sentence="", weight_names=["model.safetensors"],
        weights=[out / "model.safetensors"], config=out / "config.json",
        generation=out / "generation_config.json",
        tokenizer=out / "tokenizer.json", tokenizer_config=out / "tokenizer_config.json",
        card=out / "README.md", digests=digests,
    )  # fmt: skip


def known(place: Path) -> Digests:
    """The digests of all inputs, as a run has them when a job begins."""
    digests = DigestCache(place / "digests.sqlite")
    for folder in (*MODELS, "ours"):
        for file in files(place / folder) if (place / folder).is_dir() else []:
            digests.sha256(file)
    return digests


def copy(step: str, place: Path, out: Path) -> None:
    """As many bytes read and written as ours does."""
    sources = {
        "make": [place / "base" / "model.safetensors", place / "instruct" / "model.safetensors"],
        "apply": [place / "model" / "model.safetensors", place / "ours" / "delta.safetensors"],
    }[step]
    made = place / "ours" / "delta.safetensors" if step == "make" else sources[0]
    left = made.stat().st_size
    buffer = memoryview(bytearray(8 << 20))
    with (out / "copy").open("wb", buffering=0) as target:
        for source in sources:
            with source.open("rb", buffering=0) as handle:
                while count := handle.readinto(buffer):
                    part = min(count, left)
                    target.write(buffer[:part])
                    left -= part
        os.fsync(target.fileno())


def sync(folder: Path) -> None:
    """Bring all files of a folder to the disk."""
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def task_arithmetic(place: Path, out: Path) -> None:
    """Mergekit's task arithmetic: base + (model - base) + (instruct - base)."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import MergeOptions, run_merge

    models = [{"model": str(place / name), "parameters": {"weight": 1.0}}
              for name in ("model", "instruct")]  # fmt: skip
    wanted = MergeConfiguration.model_validate({
        "merge_method": "task_arithmetic", "base_model": str(place / "base"), "models": models,
        "dtype": "float32",
        "out_dtype": read_json(place / "base" / "config.json")["dtype"],
    })  # fmt: skip
    options = MergeOptions(copy_tokenizer=False, quiet=True, write_model_card=False)
    run_merge(wanted, out_path=str(out), options=options)
    sync(out)


WAYS = ("ours", "alone", "copy", "published")
MERGEKIT = "mergekit"


def peak() -> int:
    """Peak resident bytes of this program alone (ru_maxrss would have its parent's)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in status if x.startswith("VmHWM:")).split()[1]) * 1024


def processor() -> float:
    """Seconds of processor time that this program has had."""
    times = os.times()
    return times.user + times.system


def prepared(way: str, step: str, place: Path, out: Path) -> Callable[[], None]:
    """What is measured of one way, with its imports made."""
    if way == "copy":
        return partial(copy, step, place, out)
    if way == "published":
        from transformers import AutoModelForCausalLM  # noqa: F401 - its import is not measured
        from transformers.models.llama import modeling_llama  # noqa: F401

        return partial(published, step, place, out)
    if way == MERGEKIT:
        import_module("mergekit.merge")
        return partial(task_arithmetic, place, out)
    return partial(ours, step, place, out, known(place) if way == "ours" else None)


def work(way: str, step: str, place: Path) -> dict[str, float]:
    """In a process of its own: run one way; seconds, of the clock and of the processor, and memory."""
    torch.set_num_threads(1)
    floor = peak()
    out = place / (way if step == "make" else f"{way}-merged")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    run_it = prepared(way, step, place, out)
    busy, start = processor(), time.perf_counter()
    run_it()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "processor": processor() - busy, "floor": floor, "peak": peak()}


def run(way: str, step: str, place: Path, mergekit: str | None) -> dict[str, float]:
    """One way in a process of its own, on files that are in the cache."""
    if way != MERGEKIT:
        return alone(work, way, step, place)
    assert mergekit is not None
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [mergekit, __file__, "--work", way, step, str(place)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(place: Path, ways: Sequence[str]) -> dict[str, dict[str, float]]:
    """Each way's merged weights against the float64 answer, and against ours element by element.

    :returns: way -> deviation (norm of the difference from the float64 answer), identical (share of
        elements that are ours bit by bit), beyond (elements farther from ours than the roundings of
        both explain).
    """
    found = {
        way: dict.fromkeys(("deviation", "identical", "beyond", "elements"), 0.0) for way in ways
    }
    with contextlib.ExitStack() as stack:
        models, merged = (
            {name: stack.enter_context(
                WeightStream(files(place / f"{name}{end}"), name)) for name in names}
            for names, end in ((MODELS, ""), (ways, "-merged"))
        )  # fmt: skip
        for name, tensor in models["base"].tensors.items():
            for block in row_blocks(tensor.shape):
                base, instruct, model = (models[m].rows(name, *block).double() for m in MODELS)
                delta = instruct - base
                exact = model + delta
                bound = roundings(tensor.dtype, base, model, delta)
                mine = merged["ours"].rows(name, *block).double() if "ours" in merged else exact
                for way, stream in merged.items():
                    value = stream.rows(name, *block).double()
                    sums = found[way]
                    sums["deviation"] += float((value - exact).square_().sum())
                    sums["identical"] += int((value == mine).sum())
                    sums["beyond"] += int(((value - mine).abs_() > bound).sum())
                    sums["elements"] += value.numel()
    for sums in found.values():
        sums["deviation"] = math.sqrt(sums["deviation"])
        sums["identical"] /= sums.pop("elements")
    return found


def roundings(
    dtype: torch.dtype, base: torch.Tensor, model: torch.Tensor, delta: torch.Tensor
) -> torch.Tensor:
    """How far two ways of computing a sum may be from each other, at most: float64.

    Ours rounds the difference, the stored delta, the sum, the result; others up to four sums in
    float32 and the result.
    """
    total = model + delta
    single = sum(
        half_ulp(part, torch.float32) for part in (delta, model - base, base, model, total)
    )
    return (2 * single + half_ulp(delta, torch.float16) + 2 * half_ulp(total, dtype)) * 1.01


def measured(
    place: Path, ways: Sequence[str], rounds: int, mergekit: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each step with the least times and the largest peak of each way."""
    for step in (*STEPS, *(["both"] if mergekit else [])):
        best: dict[str, Any] = {}
        # Ours first: the copy is of as many bytes as it wrote.
        for _ in range(rounds):
            for way in [MERGEKIT] if step == "both" else [w for w in WAYS if w in ways]:
                found = run(way, step, place, mergekit)
                kept = best.setdefault(way, found)
                kept["seconds"] = min(kept["seconds"], found["seconds"])
                kept["processor"] = min(kept["processor"], found["processor"])
                kept["peak"] = max(kept["peak"], found["peak"])
        yield step, best


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(description="Time and memory of instruction deltas.")
    parser.add_argument("--shapes", choices=SHAPES, default="smollm2-135m", help="of the model")
    parser.add_argument("--layers", type=int, help="number of layers")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16",
                        help="of the models")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way; the best counts")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what is run")
    parser.add_argument("--folder", help="where the files are made (default: a temporary folder)")
    parser.add_argument("--mergekit", metavar="PYTHON", help="interpreter that has mergekit")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        way, step, place = options.work
        print(json.dumps(work(way, step, Path(place))))
        return 0
    if "ours" not in options.ways:
        parser.error("--ways: the other ways are compared with ours; name ours too")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        return compare(Path(folder), options)


def compare(place: Path, options: argparse.Namespace) -> int:
    """All ways on one set of models."""
    config = dict(SHAPES[options.shapes])
    if layers := options.layers or LAYERS.get(options.shapes):
        config["num_hidden_layers"] = layers
    make_models(place, config, getattr(torch, options.dtype))
    size = (place / "base" / "model.safetensors").stat().st_size
    versions = ", ".join(f"{n} {version(n)}" for n in ("torch", "transformers"))
    print(f"versions   Python {platform.python_version()}, {versions}; {platform.machine()}")
    print(f"models     {options.shapes}, {config['num_hidden_layers']} layers, {options.dtype}, "
          f"{size / 1e9:.3f} GB each; load of the machine {os.getloadavg()[0]:.1f}")  # fmt: skip
    print(
        "copy       every weight file of the step read, as many bytes written as ours writes, fsync"
    )
    print("step   way            time  processor      peak    above bare torch")
    totals = {"seconds": 0.0, "processor": 0.0, "peak": 0.0}
    for step, best in measured(place, options.ways, options.rounds, options.mergekit):
        for way, found in best.items():
            above = found["peak"] - found["floor"]
            print(f"{step:6} {way:10} {found['seconds']:7.2f} s {found['processor']:7.2f} s "
                  f"{found['peak'] / 1e6:7.0f} MB {above / 1e6:7.0f} MB", flush=True)  # fmt: skip
        if step != "both":
            totals = {"peak": max(totals["peak"], best["ours"]["peak"]),
                      **{k: totals[k] + best["ours"][k] for k in ("seconds", "processor")}}  # fmt: skip
        mine = totals if step == "both" else best["ours"]
        for way in sorted(set(best) - {"ours"}):
            shares = (f"{key} {mine[key] / max(best[way][key], 1e-9):.2f}"
                      for key in ("seconds", "processor", "peak"))  # fmt: skip
            print(f"{step:6} ours / {way}: {', '.join(shares)}", flush=True)
    merged = [w for w in options.ways if w != "copy"] + ([MERGEKIT] if options.mergekit else [])
    answers = compared(place, merged)
    for way, found in answers.items():
        print(f"merged {way:10} distance from the float64 answer {found['deviation']:.6g}; of ours "
              f"{found['identical']:.4%} identical, {found['beyond']:.0f} beyond rounding")  # fmt: skip
    own = answers["ours"]["deviation"]
    worse = any(own > found["deviation"] * (1 + 1e-3) for found in answers.values())
    return int(worse or any(found["beyond"] for found in answers.values()))


if __name__ == "__main__":
    sys.exit(main())
