"""Time and peak memory of the geometry of activations, two ways in one run: published and ours.

    python bench/geometry_speed.py [--hooks 64] [--models 3] [--prompts 500] [--width 4096]

Published: of each matrix of each model five singular value decompositions (scipy.linalg.svd,
full_matrices=False), one for each measure, and two more for the subspaces of every model but the
base. It knows uncentred activations alone; ours gives each measure centred too. So two ratios
are printed: against the published functions on the uncentred matrices alone, which do half of
the work, and on both. Both ways read the same files, and take turns hook by hook.
Exits 1 where a measure differs by more than a relative 1e-5 from scipy's decomposition in
float64 (the published one stays in float32).
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

import numpy as np
import scipy.linalg

from atlas.geometry.measures import CENTRINGS, SUBSPACE, Geometry, comparison, decompose
from atlas.geometry.spectra import measures, numerical_rank
from atlas.geometry.stream_files import StreamFile, hook_names, write_streams
from atlas.geometry.subspaces import kernel_alignment
from atlas.job.entry import keep_memory

Array = np.ndarray[Any, Any]


def write_file(path: Path, hooks: Sequence[str], prompts: int, width: int, seed: int) -> None:
    """Random float16 activations with a power-law spectrum, a large mean and a few huge columns.

    The base has the seed 0; a model is the base, a little moved.
    """
    texts = [f"prompt {i}" for i in range(prompts)]

    def arrays() -> Any:
        for number, hook in enumerate(hooks):
            draw = np.random.default_rng([0, number])
            scale = np.arange(1, width + 1) ** -0.6
            matrix = draw.normal(size=(prompts, width)) * scale + draw.normal(size=width) / 2
            matrix[:, :3] *= 20
            if seed:
                own = np.random.default_rng([seed, number])
                matrix += 0.1 * seed * scale * own.normal(size=(prompts, width))
            yield hook, matrix.astype(np.float16)

    write_streams(path, texts, [10] * prompts, "last_token", arrays())


def published(base: Array, matrix: Array, is_base: bool) -> dict[str, Any]:
    """The measures as the published code computes them: a decomposition for each."""

    def values() -> Array:
        return np.asarray(scipy.linalg.svd(matrix, full_matrices=False)[1])

    shares = values()
    shares = shares / shares.sum()
    shares = shares[shares > 1e-10]
    one = values()
    found = {"effective_rank": float(np.exp(-(shares * np.log(shares)).sum())),
             "participation_ratio": float(one.sum() ** 2 / (one**2).sum())}  # fmt: skip
    one = values()
    found["stable_rank"] = float((one**2).sum() / one[0] ** 2)
    one = values()
    x = np.vstack([np.log(np.arange(1, len(one) + 1)), np.ones(len(one))]).T
    found["spectral_decay"] = -float(np.linalg.lstsq(x, np.log(one + 1e-10), rcond=None)[0][0])
    one = values()
    energy = np.cumsum(one**2)
    found["dimension_90"] = int(np.searchsorted(energy, 0.9 * energy[-1])) + 1
    found["condition_number"] = float(one[0] / one[-1])
    if not is_base:
        right = [scipy.linalg.svd(m, full_matrices=False)[2][:SUBSPACE].T for m in (base, matrix)]
        found["subspace_preservation"] = float(np.cos(scipy.linalg.subspace_angles(*right)).mean())
        found["alignment"] = centred_cka(base, matrix)
    return found


def centred_cka(base: Array, matrix: Array) -> float | None:
    """As published: Gram matrices, and the centring matrix from both sides."""
    rows = len(base)
    centring = np.eye(rows) - np.ones((rows, rows)) / rows
    wide = [m.astype(np.float32) for m in (base, matrix)]
    return kernel_alignment(*(centring @ (m @ m.T) @ centring for m in wide))


def ours(base: Geometry | None, matrix: Array) -> tuple[Geometry, dict[str, dict[str, Any]]]:
    """The same and more from one decomposition of each."""
    geometry = decompose(matrix)
    found = {}
    for centring in CENTRINGS:
        one = getattr(geometry, centring)
        found[centring] = dict(measures(one.singular_values, one.rank))
        if base is not None:
            found[centring] |= comparison(getattr(base, centring), one)
    return geometry, found


def reference(base: Array, matrix: Array, centring: str) -> dict[str, Any]:
    """The measures from scipy's decomposition in float64."""
    pair = [m.astype(np.float64) for m in (base, matrix)]
    most = min(matrix.shape)
    if centring == "centred":
        pair = [m - m.mean(axis=0) for m in pair]
        most = min(matrix.shape[0] - 1, matrix.shape[1])
    (_, _, first), (_, values, second) = (scipy.linalg.svd(m, full_matrices=False) for m in pair)
    kept = min(SUBSPACE, most)
    angles = scipy.linalg.subspace_angles(first[:kept].T, second[:kept].T)
    rank = numerical_rank(values[:most], matrix.shape)
    aligned = kernel_alignment(*(m @ m.T for m in pair))
    return {**measures(values[:most], rank), "alignment": aligned,
            "subspace_preservation": float(np.cos(angles).mean())}  # fmt: skip


def deviation(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Largest relative difference over the measures that both have."""
    return max(
        abs(found[key] - value) / abs(value)
        for key, value in expected.items()
        if found.get(key) is not None and value
    )


class Clock:
    """Wall and processor seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent = {key: np.zeros(2) for key in ("read", "ours", "uncentred", "centred")}

    def __call__(self, key: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns, its time counted."""
        wall, busy = time.perf_counter(), time.process_time()
        found = function(*arguments)
        self.spent[key] += (time.perf_counter() - wall, time.process_time() - busy)
        return found


def measure(files: Sequence[Path], hooks: Sequence[str]) -> int:
    """Measure and print.

    :returns: the exit status: 1 where a measure is off.
    """
    stored, clock = [StreamFile(file) for file in files], Clock()
    worst, peak = 0.0, 0.0
    for number, hook in enumerate(hooks, start=1):
        base: Geometry | None = None
        matrices, found = [], []
        for file in stored:
            matrices.append(clock("read", file.read, hook))
            geometry, rows = clock("ours", ours, base, matrices[-1])
            base = base or geometry
            found.append(rows)
        peak = peak or peak_bytes()
        origin = matrices[0]
        taken = [m - m.mean(axis=0, dtype=np.float32) for m in matrices]
        for k in range(len(stored)):
            clock("uncentred", published, origin, matrices[k], k == 0)
            clock("centred", published, taken[0], taken[k], k == 0)
            if number == 1:
                for centring in CENTRINGS:
                    expected = reference(origin, matrices[k], centring)
                    worst = max(worst, deviation(found[k][centring], expected))
        times = ", ".join(f"{key} {value[0]:.2f} s" for key, value in clock.spent.items())
        print(f"hook {number} of {len(hooks)}: {times}", flush=True)
    report(clock.spent, worst, peak, len(hooks) * len(stored))
    return int(worst > 1e-5)


def report(spent: dict[str, Array], worst: float, peak: float, count: int) -> None:
    """Print times per matrix, ratios (reading counts on both sides), memory and deviation."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "h5py"))
    print(f"versions               {versions}; {os.environ['OMP_NUM_THREADS']} thread(s)")
    both = spent["uncentred"] + spent["centred"]
    for label, value in (("reading", spent["read"]), ("ours, both", spent["ours"]),
                         ("published, uncentred", spent["uncentred"]),
                         ("published, both", both)):  # fmt: skip
        wall, busy = value / count * 1e3
        print(f"{label:<22} {wall:.1f} ms per matrix ({busy:.1f} ms of the processor)")
    for label, value in (("both against both", both),
                         ("both against uncentred", spent["uncentred"])):  # fmt: skip
        wall, busy = (value + spent["read"]) / (spent["ours"] + spent["read"])
        print(f"ratio, {label:<22} {wall:.1f} times faster ({busy:.1f} by processor time)")
    print(f"memory                 {peak / 1e6:.0f} MB at the peak, before anything published ran")
    print(f"deviation              {worst:.1e} (relative, of the measures from scipy in float64)")


def peak_bytes() -> float:
    """Peak of the resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files and measure.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(description="Time the geometry of activations, two ways.")
    parser.add_argument("--hooks", type=int, default=64)
    parser.add_argument("--models", type=int, default=3, help="the base among them")
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--width", type=int, default=4096)
    options = parser.parse_args(arguments)
    keep_memory()  # as every job of the workflow
    hooks = hook_names((options.hooks + 1) // 2)[: options.hooks]
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place) / f"{k}.h5" for k in range(options.models)]
        for k, file in enumerate(files):
            write_file(file, hooks, options.prompts, options.width, k)
        return measure(files, hooks)


if __name__ == "__main__":
    sys.exit(main())
