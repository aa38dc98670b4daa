"""Pools for the navigator's tests: made by the library's own functions, or as large as one likes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atlas.clusters.map_files import COLUMNS
from atlas.clusters.maps import map_models
from atlas.clusters.neighbours import NEIGHBOUR_COLUMNS, neighbours
from atlas.clusters.silhouettes import SILHOUETTE_COLUMNS, silhouettes
from atlas.configuration.config import Figures
from atlas.figures.style import looks
from atlas.files import write_csv, write_json
from atlas.navigator.page import write_navigator
from atlas.spaces.embeddings import Embeddings, write_embeddings
from atlas.weights.model_cards import write_card

ROOT = Path(__file__).resolve().parents[3]
PARTS = ROOT / "resources/navigator"
SCRIPTS = [
    PARTS / f"{name}.js"
    for name in (
        "data", "looks", "places", "draw", "map", "columns", "list", "details", "take", "page",
    )
]  # fmt: skip
SPACES = ["flattened_weights", "salient_mask", "output_sentences", "delta_activations"]
DOMAINS = [
    "coding", "commonsense", "legal", "math", "medical", "biology", "chemistry", "dialogue",
    "finance", "geography", "history", "law", "linguistics", "logic", "music", "news", "physics",
    "poetry", "retrieval", "safety", "science", "summaries", "translation", "vision",
]  # fmt: skip
RECIPES = ["lora-cpu", "lora-cpu-fast", "ia3-cpu"]
BASES = ["smollm2-135m-instruct-q4", "gemma-3-270m-q4"]


def described(n: int, domains: int, seed: int = 0) -> list[dict[str, Any]]:
    """Models as the rule describes them, sorted by name."""
    generator = np.random.default_rng(seed)
    found = []
    for i in range(n):
        domain = DOMAINS[i % domains]
        name = f"smollm2-{domain}-{i // domains:04d}"
        found.append({
            "name": name, "base": BASES[int(generator.random() < 0.15)], "domain": domain,
            "recipe": RECIPES[i // domains % 3], "seed": int(generator.integers(2**31)),
            "variant": "own", "origin": "", "delta": None,
            "data": [{"dataset": f"{domain}-rows", "split": ["first", "second", "third"][i % 3],
                      "share": 1.0, "rows": None}],
            "file": f"results/models/{name}/adapter_model.safetensors", "hub": None,
            "source": f"./results/models/{name}", "subfolder": None, "kind": "adapter", "more": {},
        })  # fmt: skip
    return sorted(found, key=lambda m: m["name"])


def datasets_of(models):
    names = {(d["dataset"], m["domain"]) for m in models for d in m["data"]}
    return {name: {"domain": domain, "licence": "mit", "source": f"rows-1.0.whl: data/{domain}.jsonl"}
            for name, domain in sorted(names)}  # fmt: skip


def write_cards(folder: Path, models, seed: int = 1) -> list[Path]:
    """A card per model, as training writes it."""
    generator, files = np.random.default_rng(seed), []
    for model in models:
        file = folder / "models" / model["name"] / "README.md"
        file.parent.mkdir(parents=True)
        write_card(
            file, name=model["name"], base={"licence": "apache-2.0"}, adapter=True,
            address=f"results/sources/bases/{model['base']}", revision=None,
            origin=f"Trained by Delta Atlas from {model['base']} with sft (lora) on 24 rows.",
            datasets={d["dataset"]: "mit" for d in model["data"]},
            settings={"learning_rate": 5e-4, "r": 8, "alpha": 16, "seed": model["seed"],
                      "epochs": 1.0, "batch_size": 2, "scheduler": "constant"},
            digests={"base": "ab" * 32, "training rows": generator.bytes(32).hex(),
                     "adapter": generator.bytes(32).hex()},
        )  # fmt: skip
        files.append(file)
    return files


def write_bases(folder: Path, models) -> list[Path]:
    files = []
    for base in sorted({m["base"] for m in models}):
        files.append(folder / "bases" / base / "base.json")
        files[-1].parent.mkdir(parents=True)
        write_json(files[-1], {
            "name": base, "licence": "apache-2.0", "weights_sha256": "ab" * 32,
            "origin": {"pypi": {"files": [{"name": "base-1.0.whl", "member": "base.gguf"}]}},
        })  # fmt: skip
    return files


def vectors(models, space: int, dimension: int) -> np.ndarray:
    """Vectors that cluster by domain, in some spaces more than in others."""
    generator = np.random.default_rng(space)
    centres = {d: generator.normal(size=dimension) for d in sorted({m["domain"] for m in models})}
    strength = [0.1, 0.35, 0.7, 1.3][space % 4]
    noise = generator.normal(size=(len(models), dimension))
    return np.array([strength * centres[m["domain"]] for m in models]) + noise


def settings(folder: Path, models, spaces, **more) -> dict[str, Any]:
    """All that the page is written from, but for the files of the spaces."""
    figures = Figures()
    return {
        "pool": "smollm2", "models": models, "datasets": datasets_of(models), "spaces": spaces,
        "palette": figures.palette,
        "looks": looks(sorted({m["domain"] for m in models}), figures.palette, figures.markers),
        "cards": more["cards"] if "cards" in more else write_cards(folder, models), "report": [],
        "embeddings": [], "training": [], "counts": [], "bases": write_bases(folder, models),
        "template": PARTS / "page.html.jinja", "style": PARTS / "style.css", "scripts": SCRIPTS,
        **more,
    }  # fmt: skip


def real_pool(folder: Path, n: int, domains: int, models=None, empty=()) -> dict[str, Any]:
    """A pool whose maps, neighbours and silhouettes are made as in a run.

    :param empty: spaces without embeddings.
    """
    models = models or described(n, domains)
    files = []
    for k, space in enumerate(SPACES):
        file = folder / space / "embeddings.npz"
        file.parent.mkdir(parents=True)
        about = ([m["name"] for m in models], [m["domain"] for m in models],
                 [m["base"] for m in models])  # fmt: skip
        more = {"dimension": 24, "embeddings": vectors(models, k, 24).astype(np.float32)}
        if space in empty:
            more = {"dimension": 0, "reason": "the models are of mixed kinds"}
        write_embeddings(file, Embeddings(space, *about, **more))
        map_models(embeddings=file, points=file.with_name("map.csv"))
        files.append(file)
    neighbours(embeddings=files, neighbours=folder / "neighbours.csv")
    silhouettes(embeddings=files, silhouette=folder / "silhouette.csv")
    return settings(
        folder, models, SPACES, maps=[f.with_name("map.csv") for f in files],
        neighbours=folder / "neighbours.csv", silhouette=folder / "silhouette.csv",
    )  # fmt: skip


def large_pool(folder: Path, n: int, domains: int, spaces: int = 2) -> dict[str, Any]:
    """A pool with files such as a run would make of so many models that are not kept, made up faster."""
    models = described(n, domains)
    names, wanted, maps = [m["name"] for m in models], SPACES[-spaces:], []
    lines, scores = [",".join(NEIGHBOUR_COLUMNS)], []
    for k, space in enumerate(wanted):
        points, generator = vectors(models, k, 5), np.random.default_rng(k)
        silhouette = np.clip(generator.normal(0.3, 0.3, size=n), -1, 1).round(6)
        # Near on a line through each domain stands for near.
        order = np.lexsort((points[:, 0], [m["domain"] for m in models]))
        place = np.argsort(order)
        ways = np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
        near = order[(place[:, None] + ways) % n]
        similarity = 0.999 - generator.exponential(0.02, size=(n, 10)).cumsum(axis=1)
        for i, model in enumerate(models):
            for rank in range(10):
                values = {
                    "space": space, "model": names[i], "domain": model["domain"],
                    "silhouette": silhouette[i], "rank": rank + 1, "neighbour": names[near[i, rank]],
                    "neighbour_domain": models[near[i, rank]]["domain"],
                    "similarity": f"{similarity[i, rank]:.6f}", "recall": 1.0,
                }  # fmt: skip
                lines.append(",".join(str(values[c]) for c in NEIGHBOUR_COLUMNS))
        rows = [{"model": name, "x": float(x), "y": float(y), "method": "t-SNE of 50 components",
                 "stress": None, "neighbours_kept": 0.5}
                for name, (x, y) in zip(names, points[:, :2], strict=True)]  # fmt: skip
        maps.append(folder / space / "map.csv")
        maps[-1].parent.mkdir(parents=True)
        write_csv(maps[-1], COLUMNS, rows)
        row = dict.fromkeys(SILHOUETTE_COLUMNS)
        scores.append({**row, "space": space, "dimension": 5, "distance": "cosine", "label": "domain",
                       "silhouette": float(silhouette.mean()), "reason": ""})  # fmt: skip
    (folder / "neighbours.csv").write_text("\n".join([*lines, ""]))
    write_csv(folder / "silhouette.csv", SILHOUETTE_COLUMNS, scores)
    generator = np.random.default_rng(n)
    rows = [{"model": name, "source": f"org/{name}", "sha256": generator.bytes(32).hex(), "bytes": 10**6}
            for name in names]  # fmt: skip
    write_csv(folder / "report.csv", ("model", "source", "sha256", "bytes"), rows)
    return settings(
        folder, models, wanted, maps=maps, neighbours=folder / "neighbours.csv",
        silhouette=folder / "silhouette.csv", report=[folder / "report.csv"], cards=[],
    )  # fmt: skip


def write(pool: dict[str, Any], page: Path) -> Path:
    write_navigator(**pool, page=page)
    return page
