"""How fast a pool is embedded: the published procedure against ours, on the same adapters.

    python bench/embedding_speed.py                      the default pool, once it has been made
    python bench/embedding_speed.py --base FOLDER --models FOLDER...
    python bench/embedding_speed.py --random llama-8b    random weights, for a GPU

Published (arXiv 2509.04442): the base is loaded once; each adapter is wrapped around it
(``PeftModel.from_pretrained``), each prompt runs by itself with its language-model head and all
hidden states kept, the last of them is read at the last token, the adapter is unloaded.
Ours: ``atlas.activations.last_tokens``, as the rule `compute_shard` calls it. Loading the base and importing
libraries count on neither side; reading adapters from disk counts on both. Both run in one process
with the allocator set as a job of the workflow sets it, which speeds the published side up too.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import numpy as np
import torch
from parts.random_models import SHAPES, write_adapters, write_tokenizer

from atlas import device as devices
from atlas.activations.last_tokens import Probe
from atlas.activations.probes import read_probes
from atlas.files import read_json
from atlas.networks.shards import applied, read_ahead, read_model
from atlas.networks.swap import adapter_applied, load_base
from atlas.weights.adapters import load_adapter

DEFAULT_BASE = ROOT / "results/sources/bases/smollm2-135m-instruct-q4"
DEFAULT_MODELS = ROOT / "results/models"
FILES = ("adapter_config.json", "adapter_model.safetensors")

Array = np.ndarray[Any, Any]


@dataclass
class Case:
    """A base in memory and the adapters to embed."""

    network: Any
    folder: Path
    models: list[Path]
    prompts: list[str]
    record: dict[str, Any]
    names: list[str]

    @property
    def device(self) -> torch.device:
        """Where the base is."""
        found: torch.device = next(self.network.parameters()).device
        return found


def published(case: Case) -> dict[str, Array]:
    """Activations (n_probes, d) of each adapter by the published procedure."""
    from peft import PeftModel
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(case.folder)
    network = case.network
    found = {}
    for folder in case.models:
        wrapped = PeftModel.from_pretrained(network, str(folder)).eval()
        found[folder.name] = one_by_one(wrapped, tokenizer, case)
        network = wrapped.unload()
    with contextlib.suppress(AttributeError):
        del network.peft_config
    return found


def one_by_one(network: Any, tokenizer: Any, case: Case) -> Array:
    """Last of all hidden states at the last token, prompt after prompt."""
    rows = []
    for prompt in case.prompts:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            output = network(**inputs.to(case.device), output_hidden_states=True)
        rows.append(output.hidden_states[-1][0, -1].float().cpu().numpy())
    return np.stack(rows)


def ours(case: Case) -> dict[str, Array]:
    """Activations (n_probes, d) of each adapter, as the workflow computes them."""
    probe = Probe(case.folder, case.prompts, case.network)
    folders = {str(folder): folder for folder in case.models}
    pin = case.device.type == "cuda"

    def read(name: str) -> Any:
        files = [folders[name] / file for file in FILES]
        return read_model(files, case.record, case.names, pin=pin)

    found = {}
    for folder, model in zip(case.models, read_ahead(read, list(folders)), strict=True):
        with applied(case.network, model) as network:
            found[folder.name] = probe.last_token(network, folder.name)
    return found


def timed(
    function: Callable[[Case], dict[str, Array]], case: Case
) -> tuple[float, float, dict[str, Array]]:
    """Seconds and processor seconds per adapter, and what was computed."""
    # The published code does not ask for deterministic kernels; the workflow does.
    torch.use_deterministic_algorithms(function is ours, warn_only=True)
    gc.collect()
    synchronise(case.device)
    start, busy = time.perf_counter(), time.process_time()
    found = function(case)
    synchronise(case.device)
    spent = time.perf_counter() - start, time.process_time() - busy
    return spent[0] / len(case.models), spent[1] / len(case.models), found


def synchronise(device: torch.device) -> None:
    """Wait for the GPU, where there is one."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def deviation(case: Case, one: dict[str, Array], two: dict[str, Array]) -> tuple[float, float]:
    """Largest difference of the embeddings, relative to the largest element, and least cosine."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(case.folder)
    base_two = one_by_one(case.network, tokenizer, case)
    probe = Probe(case.folder, case.prompts, case.network)
    base_one = probe.last_token(case.network, "base")
    worst, least = 0.0, 1.0
    for name in one:
        a = (one[name].astype(np.float64) - base_one).mean(axis=0)
        b = (two[name].astype(np.float64) - base_two).mean(axis=0)
        worst = max(worst, float(np.abs(a - b).max() / np.abs(b).max()))
        least = min(least, float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    return worst, least


def parts(case: Case) -> dict[str, float]:
    """Where our time goes: median seconds per adapter of reading, of applying, of the forward."""
    probe = Probe(case.folder, case.prompts, case.network)
    spent: dict[str, list[float]] = {"read": [], "apply": [], "forward": [], "take off": []}
    for folder in case.models:
        marks = [time.perf_counter()]
        adapter = load_adapter([folder / name for name in FILES])
        marks.append(time.perf_counter())
        context = adapter_applied(case.network, adapter)
        context.__enter__()
        synchronise(case.device)
        marks.append(time.perf_counter())
        probe.last_token(case.network, folder.name)
        marks.append(time.perf_counter())
        context.__exit__(None, None, None)
        marks.append(time.perf_counter())
        for key, start, end in zip(spent, marks, marks[1:], strict=False):
            spent[key].append(end - start)
    return {key: statistics.median(values) for key, values in spent.items()}


def floors(case: Case) -> None:
    """What the GPU cannot beat: bytes over measured bandwidth, operations over measured rate."""
    bandwidth, rate = memory_bandwidth(case.device), matmul_rate(case.device)
    layers = {
        name: p for name, p in case.network.named_parameters()
        if p.ndim == 2 and "embed" not in name and "lm_head" not in name
    }  # fmt: skip
    size = sum(p.numel() * p.element_size() for p in layers.values())
    probe = Probe(case.folder, case.prompts, case.network)
    tokens = sum(int(tokens.numel()) for _, tokens, _ in probe.inputs)
    passes = len(probe.inputs)
    adapter = (case.models[0] / FILES[1]).stat().st_size
    by_bytes = (adapter + size * passes) / bandwidth
    by_work = 2 * sum(p.numel() for p in layers.values()) * tokens / rate
    print(f"measured       {bandwidth / 1e9:,.0f} GB/s, {rate / 1e12:,.1f} TFLOP/s (bf16 matmul)")
    print(
        f"floor, bytes   {by_bytes * 1e3:.2f} ms per adapter: {adapter / bandwidth * 1e3:.3f} ms "
        f"for its {adapter / 1e6:.1f} MB, {size / bandwidth * 1e3:.2f} ms for each of {passes} "
        f"passes over {size / 1e9:.2f} GB of layers"
    )
    print(f"floor, work    {by_work * 1e3:.2f} ms per adapter: {tokens} tokens through the layers")


def memory_bandwidth(device: torch.device) -> float:
    """Bytes per second that a copy on the GPU reads and writes, best of ten."""
    block = torch.empty(1 << 30, dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    return 2 * block.numel() / min(events(lambda: other.copy_(block)))


def matmul_rate(device: torch.device) -> float:
    """Operations per second of a square bf16 product, best of ten."""
    side = 8192
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / min(events(lambda: a @ a))


def events(work: Callable[[], Any]) -> Iterator[float]:
    """Seconds of ten calls on the GPU, after two that warm up."""
    for number in range(12):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if number >= 2:
            yield start.elapsed_time(end) / 1e3


def random_case(name: str, count: int, place: Path, prompts: list[str]) -> Case:
    """Random weights of an architecture in memory, random adapters on disk."""
    from transformers import AutoConfig, AutoModelForCausalLM

    device = devices.prepare()
    settings = {**SHAPES[name], "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    dtype = torch.bfloat16 if name == "llama-8b" else torch.float32
    with device:
        network = AutoModelForCausalLM.from_config(
            AutoConfig.for_model("llama", **settings), dtype=dtype, attn_implementation="sdpa"
        )
    network = network.eval().requires_grad_(False)
    write_tokenizer(place, prompts)
    shapes = {key: tuple(p.shape) for key, p in network.named_parameters()}
    models = write_adapters(place / "models", shapes, count)
    return Case(network, place, models, prompts, {"name": name, "weights_sha256": ""}, [name])


def stored_case(folder: Path, models: Sequence[Path], prompts: list[str]) -> Case:
    """A base and adapters that the workflow has made."""
    missing = [m for m in models if not all((m / name).is_file() for name in FILES)]
    if not (folder / "base.json").is_file() or not models or missing:
        what = missing[0] if missing else folder if models else DEFAULT_MODELS
        raise SystemExit(
            f"{what}: not there yet; run `snakemake results/tables/main.csv` first, or give --base "
            "and --models, or --random."
        )
    record = read_json(folder / "base.json")
    network = load_base(folder, record["dtype"])
    names = [record["name"], f"results/sources/bases/{record['name']}"]
    return Case(network, folder, sorted(models), prompts, record, names)


def machine(device: torch.device) -> str:
    """What the times were measured on."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    shown = f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used"
    return f"{torch.cuda.get_device_name()}; {shown}" if device.type == "cuda" else shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print.

    :returns: the exit status: 1 where the embeddings of the two differ.
    """
    parser = argparse.ArgumentParser(description="Time the embedding of a pool, two ways.")
    parser.add_argument("--base", type=Path, default=DEFAULT_BASE, help="folder of a base")
    parser.add_argument("--models", type=Path, nargs="+", help="folders of its LoRA adapters")
    parser.add_argument("--random", choices=SHAPES, help="random weights of this architecture")
    parser.add_argument("--adapters", type=int, default=10, help="number of random adapters")
    parser.add_argument("--repetitions", type=int, default=5, help="paired repetitions")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    options = parser.parse_args(arguments)
    os.environ["DELTA_ATLAS_DEVICE"] = options.device
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Wrapping the same base again and again makes PEFT warn each time.
    warnings.filterwarnings("ignore", module="peft")
    prompts = read_probes(ROOT / "resources/probes.txt")
    with tempfile.TemporaryDirectory() as place:
        if options.random:
            case = random_case(options.random, options.adapters, Path(place), prompts)
        else:
            models = options.models or sorted(DEFAULT_MODELS.glob("smollm2-*"))
            case = stored_case(options.base, models, prompts)
        return measure(case, options.repetitions)


def measure(case: Case, repetitions: int) -> int:
    """Five paired repetitions, order alternating; the ratio is the median of the pairs'."""
    whole, case.models = case.models, case.models[:1]
    for function in (published, ours):
        timed(function, case)
    case.models = whole
    times: dict[str, list[float]] = {"published": [], "ours": []}
    busy: dict[str, list[float]] = {"published": [], "ours": []}
    found: dict[str, dict[str, Array]] = {}
    for number in range(repetitions):
        order = (published, ours) if number % 2 == 0 else (ours, published)
        for function in order:
            name = function.__name__
            wall, processor, found[name] = timed(function, case)
            times[name].append(wall)
            busy[name].append(processor)
        ratio = times["published"][-1] / times["ours"][-1]
        print(f"repetition {number + 1}   published {times['published'][-1] * 1e3:.1f} ms, ours "
              f"{times['ours'][-1] * 1e3:.1f} ms, ratio {ratio:.2f}", flush=True)  # fmt: skip
    ratios, busy_ratios = (
        [one / two for one, two in zip(t["published"], t["ours"], strict=True)]
        for t in (times, busy)
    )
    worst, least = deviation(case, found["ours"], found["published"])
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in ("torch", "transformers", "peft"))
    dtype = str(next(case.network.parameters()).dtype).removeprefix("torch.")
    print(f"machine        {machine(case.device)}")
    print(f"versions       Python {platform.python_version()}, {versions}")
    print(f"pool           {len(case.models)} adapters, {len(case.prompts)} prompts, {dtype}")
    for name, values in times.items():
        print(f"{name:<14} {statistics.median(values) * 1e3:.1f} ms per adapter (median of "
              f"{repetitions}; {min(values) * 1e3:.1f} to {max(values) * 1e3:.1f})")  # fmt: skip
    print(f"ratio          {statistics.median(ratios):.2f} times faster (median of pairs; "
          f"{min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip
    # Other work on the machine moves the times above; it hardly moves these.
    print(f"processor      {statistics.median(busy['published']) * 1e3:.1f} and "
          f"{statistics.median(busy['ours']) * 1e3:.1f} ms per adapter, ratio "
          f"{statistics.median(busy_ratios):.2f}")  # fmt: skip
    shown = ", ".join(f"{key} {value * 1e3:.1f} ms" for key, value in parts(case).items())
    print(f"ours, parts    {shown}")
    print(f"deviation      {worst:.2e} of the largest element, cosine {least:.8f} or more")
    if case.device.type == "cuda":
        floors(case)
    if dtype == "float32" and (worst > 1e-3 or least < 0.99999):
        print("the embeddings differ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
