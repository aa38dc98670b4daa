"""From shards of activations to neighbours and silhouettes of a large pool: time and memory of each step.

    python bench/large_neighbours.py [--models 100000] [--width 4096] [--threads 2]

Shards with random activations in clusters are written first, which is not measured. Each step is a process
of its own, as in the workflow. Beside them, a plain product of the matrix of embeddings with itself
(float32, in blocks of rows that are thrown away), timed on a share of the rows.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
PROBES, DOMAINS, PER_SHARD = 5, 20, 1000


def write_shards(folder: Path, models: int, width: int) -> list[Path]:
    """Activations of clustered models; of few significant bits, so that writing them is fast."""
    import numpy as np

    from atlas.activations.activation_files import write_activations

    centres = np.random.default_rng(0).normal(size=(DOMAINS, width)).astype(np.float32)
    files = []
    for number, start in enumerate(range(0, models, PER_SHARD)):
        draw = np.random.default_rng([1, number])
        found = {}
        for i in range(start, min(start + PER_SHARD, models)):
            noise = draw.normal(size=(PROBES, width)).astype(np.float32)
            found[f"m{i:06d}"] = (
                (centres[i % DOMAINS] + noise).astype(np.float16).astype(np.float32)
            )
        files.append(folder / f"{number:04d}.h5")
        base = {"base": np.zeros((PROBES, width), dtype=np.float32)}
        write_activations(files[-1], [f"p{i}" for i in range(PROBES)], base, found)
    return files


def plain_product(file: Path, share: float) -> float:
    """Seconds that a product of all pairs would take, from a share of its rows."""
    import numpy as np

    from atlas.spaces.embeddings import read_embeddings

    vectors = read_embeddings(file).embeddings
    assert vectors is not None
    rows = max(512, int(len(vectors) * share) // 512 * 512)
    start = time.perf_counter()
    for first in range(0, rows, 512):
        np.dot(vectors[first : first + 512], vectors.T)
    return (time.perf_counter() - start) * len(vectors) / rows


def recall(neighbours: Path) -> str:
    """What neighbours.csv tells of the index."""
    import csv

    with neighbours.open(newline="") as handle:
        return next(csv.DictReader(handle))["recall"]


def step(name: str, work: object, threads: int) -> None:
    """Run a step in a process of its own, and print what it took."""
    import resource

    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[variable] = str(threads)
        start = time.perf_counter()
        told = work()  # type: ignore[operator]
        wall = time.perf_counter() - start
        usage = resource.getrusage(resource.RUSAGE_SELF)
        extra = f"  ({told:.0f} s for all rows)" if isinstance(told, float) else ""
        print(f"{name:<22} {wall:8.1f} s  {usage.ru_utime + usage.ru_stime:8.1f} s of the processor  "
              f"{usage.ru_maxrss / 1024:8.0f} MB{extra}")  # fmt: skip
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"{name} failed")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.05, help="of the plain product")
    given = parser.parse_args()
    models = [
        {"name": f"m{i:06d}", "base": "base", "domain": f"d{i % DOMAINS:02d}"}
        for i in range(given.models)
    ]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = folder / "activations.h5", folder / "embeddings.npz", folder / "out.csv"
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
        step("(shards)", lambda: write_shards(folder, given.models, given.width) and None, 1)
        shards = sorted(folder.glob("*.h5"))

        def assemble() -> None:
            from atlas.activations import activation_files

            names = [m["name"] for m in models]
            activation_files.assemble(shards=shards, models=names, activations=made[0])

        def embed() -> None:
            from atlas.spaces import delta_activations

            delta_activations.embed(activations=made[0], models=models, embeddings=made[1])

        def near() -> None:
            from atlas.clusters.neighbours import neighbours

            neighbours(embeddings=[made[1]], neighbours=made[2])

        def approximately() -> None:
            from atlas.clusters.neighbours import neighbours

            neighbours(embeddings=[made[1]], neighbours=made[2], search="faiss")
            print("recall", recall(made[2]))

        def clustered() -> None:
            from atlas.clusters.silhouettes import silhouettes

            silhouettes(embeddings=[made[1]], silhouette=made[2])

        step("assemble", assemble, 1)
        step("embed", embed, 1)
        step("neighbours", near, given.threads)
        step("neighbours by faiss", approximately, given.threads)
        step("silhouettes", clustered, 1)
        step("plain product", lambda: plain_product(made[1], given.share), given.threads)


if __name__ == "__main__":
    main()
