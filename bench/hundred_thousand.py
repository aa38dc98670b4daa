"""From the files of a hundred thousand adapters to neighbours, silhouettes and maps, by spaces that run none.

    python bench/hundred_thousand.py [--models 100000] [--directions 300] [--noise 1.0] [--threads 2]

Adapters of rank 8 on v_proj and down_proj of one layer of the width of SmolLM2-135M (576; 92 KB each, 9.2 GB
of a hundred thousand) are made first, which is not measured: each from one of a few hundred directions, with
noise in both factors, so that the right neighbours (of the same direction) are known. Each step is a process
of its own, forked, as in the workflow, from one that has imported PyTorch and transformers.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]

from large_neighbours import step

RANK, PER_SHARD = 8, 1000
CONFIG = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 1, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 260, "tie_word_embeddings": True,
}  # fmt: skip
MATRICES = {"self_attn.v_proj": (192, 576), "mlp.down_proj": (576, 1536)}
SPACES = ("direct_effects", "weight_deltas")


def write_base(folder: Path) -> None:
    """A random base of one layer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from atlas.networks.tokens import byte_tokenizer

    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **CONFIG))
    network.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder, save_jinja_files=False)


def write_adapters(folder: Path, models: int, directions: int, noise: float) -> None:
    """Adapters around directions, in folders of a shard each."""
    import torch

    from atlas.weights.adapted_module import PREFIX
    from atlas.weights.tensors import write_safetensors

    def factors(draw: torch.Generator) -> dict[str, torch.Tensor]:
        return {
            f"{PREFIX}model.layers.0.{name}.lora_{half}.weight": torch.randn(size, generator=draw)
            for name, (rows, columns) in MATRICES.items()
            for half, size in (("A", (RANK, columns)), ("B", (rows, RANK)))
        }

    centres = [factors(torch.Generator().manual_seed(i)) for i in range(directions)]
    settings = json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK,
        "target_modules": ["down_proj", "v_proj"], "base_model_name_or_path": None,
    })  # fmt: skip
    for i in range(models):
        own = factors(torch.Generator().manual_seed(directions + i))
        place = folder / f"{i // PER_SHARD:04d}" / name_of(i)
        place.mkdir(parents=True)
        centre = centres[i % directions]
        tensors = {key: 0.02 * (centre[key] + noise * own[key]) for key in own}
        write_safetensors(place / "adapter_model.safetensors", tensors, {"format": "pt"})
        (place / "adapter_config.json").write_text(settings)


def name_of(number: int) -> str:
    """Name of a model."""
    return f"m{number:06d}"


def right(file: Path) -> dict[str, float]:
    """Share of the ten nearest models that are of the right direction, and recall, by space."""
    import csv
    from collections import defaultdict

    found: dict[str, list[bool]] = defaultdict(list)
    with file.open(newline="") as handle:
        for row in csv.DictReader(handle):
            found[f"{row['space']}, recall {row['recall']:.6}"].append(
                row["domain"] == row["neighbour_domain"]
            )
    return {space: sum(same) / len(same) for space, same in found.items()}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--directions", type=int, default=300)
    parser.add_argument("--noise", type=float, default=1.0, help="length, relative to a direction")
    parser.add_argument("--threads", type=int, default=2, help="of the search for neighbours")
    parser.add_argument(
        "--place", type=Path, help="folder of the adapters (default: a temporary one)"
    )
    given = parser.parse_args()
    size = sum(RANK * (rows + columns) * 4 for rows, columns in MATRICES.values()) + 8192
    needed = given.models * (size + 4096 * 4)
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    importlib.import_module("atlas.spaces.weight_deltas")
    importlib.import_module("sklearn.manifold")
    with tempfile.TemporaryDirectory(dir=given.place) as place:
        folder = Path(place)
        if shutil.disk_usage(folder).free < needed:
            raise SystemExit(
                f"{folder}: needs {needed / 1e9:.0f} GB for the adapters and embeddings"
            )
        base, inputs = folder / "base", folder / "inputs" / "base" / "modules.h5"
        inputs.parent.mkdir(parents=True)

        def made() -> None:
            write_base(base)
            write_adapters(folder / "models", given.models, given.directions, given.noise)

        step("(base and adapters)", made, 1)
        models = [
            {"name": name_of(i), "base": "base", "domain": f"d{i % given.directions:03d}"}
            for i in range(given.models)
        ]
        weights = [
            folder / "models" / f"{i // PER_SHARD:04d}" / name_of(i) / file
            for i in range(given.models)
            for file in ("adapter_config.json", "adapter_model.safetensors")
        ]
        embeddings = {space: folder / f"{space}.npz" for space in SPACES}

        def hashed() -> None:
            from atlas.digests import sha256_file

            for file in weights:
                sha256_file(file)

        def record() -> None:
            from atlas.activations.module_inputs import record_inputs

            record_inputs(
                probes=ROOT / "resources" / "probes.txt", base=sorted(base.iterdir()),
                dtype="float32", inputs=inputs,
            )  # fmt: skip

        def effects() -> None:
            from atlas.spaces.direct_effects import embed

            embed(bases=sorted(base.iterdir()), weights=weights, inputs=[inputs], models=models,
                  embeddings=embeddings["direct_effects"])  # fmt: skip

        def deltas() -> None:
            from atlas.spaces.weight_deltas import embed

            embed(bases=sorted(base.iterdir()), weights=weights, models=models,
                  embeddings=embeddings["weight_deltas"])  # fmt: skip

        def near(space: str) -> None:
            from atlas.clusters.neighbours import neighbours
            from atlas.spaces.large_pools import ALL_PAIRS

            out = folder / "neighbours.csv"
            search = "exact" if given.models <= ALL_PAIRS else "faiss"
            neighbours(embeddings=[embeddings[space]], neighbours=out, search=search)
            for found, share in right(out).items():
                print(f"  {found}: {share:.4f} of the ten nearest are right")

        def clustered(space: str) -> None:
            from atlas.clusters.silhouettes import silhouettes
            from atlas.files import read_csv

            silhouettes(embeddings=[embeddings[space]], silhouette=folder / "silhouette.csv")
            row = read_csv(folder / "silhouette.csv")[0]
            print(
                f"  {space}: silhouette {float(row['silhouette']):.3f} by {row['domains']} directions"
            )

        def mapped(space: str) -> None:
            from atlas.clusters.maps import map_models

            map_models(embeddings=embeddings[space], points=folder / "map.csv")

        step("hashing", hashed, 1)
        step("record_inputs", record, 1)
        step("embed_direct_effects", effects, 1)
        step("embed_weight_deltas", deltas, 1)
        for space in SPACES:
            step(f"neighbours, {space}", lambda space=space: near(space), given.threads)
            step(f"silhouettes, {space}", lambda space=space: clustered(space), 1)
            step(f"map, {space}", lambda space=space: mapped(space), 1)


if __name__ == "__main__":
    main()
