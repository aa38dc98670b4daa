"""The navigator: a pool as one page that needs no network.

The page holds the style and scripts of ``resources/navigator/``, which draw the map, and the pool: a
small block for what is seen first, and one block per embedding space and per ten thousand cards, which are
unpacked when they are first looked at.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from atlas.clusters.map_files import read_map
from atlas.errors import AtlasError
from atlas.files import by_folder, csv_rows, read_csv, read_json, write_bytes
from atlas.navigator.blocks import json_block, space_block
from atlas.navigator.cards import compact
from atlas.navigator.columns import column, further_columns, read_logs
from atlas.spaces.embeddings import read_embeddings
from atlas.spaces.names import space_title

# The markers of the figures (matplotlib) by the names of the shapes in looks.js.
MARKERS = {
    "o": "circle", "s": "square", "^": "triangle", "D": "diamond", "v": "inverted_triangle",
    "P": "plus", "X": "hex", "*": "star", "h": "hex", "d": "diamond", "p": "hex", ".": "circle",
    "+": "plus", "x": "hex",
}  # fmt: skip
FETCHED = "fetched"  # stands for the recipe of a model that was not trained here
HUGE = 200_000_000  # bytes of embeddings that are not read for the similarities of all models
TOGETHER = 10_000  # models whose cards are one block: the first one is opened without all others
SHOWN = "cosine"  # distance whose silhouettes are shown
# What a report says of a model that was not kept, in place of its card.
UNKEPT = (
    "# {model}\n\nFetched from {source}, embedded and not kept. "
    "SHA-256 of its weights: {sha256} ({bytes} bytes).\n"
)


def write_navigator(
    *, pool: str, models: list[dict[str, Any]], datasets: dict[str, dict[str, Any]],
    spaces: list[str], palette: list[str], looks: dict[str, list[str]], maps: list[Path],
    embeddings: list[Path], neighbours: Path, silhouette: Path, cards: list[Path], report: list[Path],
    training: list[Path], counts: list[Path], bases: list[Path], template: Path, style: Path,
    scripts: list[Path], page: Path
) -> None:  # fmt: skip
    """Write navigator.html: the same inputs give the same bytes.

    :param models: models of the pool, sorted by name: name, base, domain, recipe (None where it was
        fetched), and of where it is from: seed, variant, data, origin, delta, file, hub
        (repository), and what a sheet says of it: source, kind, subfolder, more (other columns of the
        sheet that it is from).
    :param palette: colours of columns other than the domain.
    :param looks: colour and marker of each domain of the pool.
    :param datasets: those that the models were trained on, name -> domain, licence, source.
    :param maps: map.csv of each space.
    :param embeddings: embeddings.npz of each space of a small pool,
        none of a large one, whose page has the similarities of the nearest only.
    :param neighbours: neighbours.csv of the pool.
    :param cards: README.md of each model; none where models are not kept.
    :param training: training.csv of the models that were trained here. :param counts: their
        rows.counts.json.
    :raises AtlasError: where an input lacks a model, or a marker is unknown.
    """
    names = [model["name"] for model in models]
    ranked = _ranked(neighbours, names)
    scores = _scores(silhouette)
    found, blocks = [], []
    for space, file in zip(spaces, maps, strict=True):
        mapped, places, method, fit = read_map(file)
        if mapped and mapped != names:
            raise AtlasError(f"{file}: its models are not those of the pool {pool}.")
        pairs = _similarities(embeddings[len(blocks)], pool, names) if embeddings else None
        block, layout = space_block(places if mapped else None, ranked.get(space), pairs)
        found.append({"space": space, "title": space_title(space), "method": method, "fit": fit, **layout,
                      "recall": ranked.get(space, {}).get("recall"), **scores.get(space, {})})  # fmt: skip
        blocks.append((f"space-{space}", block))
    logs = read_logs(training)
    look = {domain: (colour, _marker(marker)) for domain, (colour, marker) in looks.items()}
    first = {
        "pool": pool, "names": names, "spaces": found, "palette": palette, "looks": look,
        "domain": column([m["domain"] for m in models]),
        "base": column([m["base"] for m in models]),
        "recipe": column([m["recipe"] or FETCHED for m in models]),
        "columns": further_columns(models, logs, counts),
    }  # fmt: skip
    texts = {n: files[0].read_text(encoding="utf-8") for n, files in by_folder(cards).items()}
    texts |= {row["model"]: UNKEPT.format(**row) for file in report for row in read_csv(file)}
    origin = ("seed", "variant", "data", "origin", "delta", "file", "hub", "source", "kind",
              "subfolder")  # fmt: skip
    packed = compact(names, [texts[name] for name in names])
    behind = {
        "each": TOGETHER, "datasets": datasets, "templates": packed["templates"],
        "bases": {record["name"]: record for record in map(read_json, bases)},
    }  # fmt: skip
    own = [
        {k: m[k] for k in origin if m.get(k)}
        | ({"curve": logs[m["name"]].curve} if m["name"] in logs else {})
        for m in models
    ]
    blocks.append(("cards", json_block(behind)))
    for k, start in enumerate(range(0, len(names), TOGETHER)):
        some = slice(start, start + TOGETHER)
        part = {"models": own[some], "cards": packed["cards"][some]}
        blocks.append((f"cards-{k}", json_block(part)))
    # Names of models reach the page through blocks only, and the pool's is escaped.
    env = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    text = env.from_string(template.read_text(encoding="utf-8")).render(
        pool=pool, count=len(names), spaces=found,
        blocks=[("models", json_block(first)), *blocks],
        style=style.read_text(encoding="utf-8"),
        scripts=[file.read_text(encoding="utf-8") for file in scripts],
    )  # fmt: skip
    write_bytes(page, text.encode())


def _marker(name: str) -> str:
    if name not in MARKERS:
        raise AtlasError(
            f"figures.markers: {name!r} has no counterpart in the navigator; choose among "
            f"{' '.join(MARKERS)}."
        )
    return MARKERS[name]


def _similarities(file: Path, pool: str, names: Sequence[str]) -> np.ndarray[Any, Any] | None:
    """Cosine similarities of all models (n, n); None where there are none, or the vectors are huge."""
    if file.stat().st_size > HUGE:
        return None
    found = read_embeddings(file)
    if found.model_names != list(names):
        raise AtlasError(f"{file}: its models are not those of the pool {pool}.")
    return None if found.reason else found.cosine_similarity()


def _ranked(neighbours: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Space -> silhouettes (one per model, None without), neighbours (index, similarity), their recall."""
    place = {name: i for i, name in enumerate(names)}
    found: dict[str, dict[str, Any]] = {}
    for row in csv_rows(neighbours):  # millions in large pools
        if row["space"] not in found:
            found[row["space"]] = {
                "silhouettes": [None] * len(names), "nearest": [[] for _ in names],
                "recall": float(row["recall"]),
            }  # fmt: skip
        of = found[row["space"]]
        i = place.get(row["model"], -1)
        if i < 0 or row["neighbour"] not in place:
            raise AtlasError(f"{neighbours}: {row['model']} or its neighbour is not in the pool.")
        of["silhouettes"][i] = float(row["silhouette"]) if row["silhouette"] else None
        of["nearest"][i].append((place[row["neighbour"]], float(row["similarity"])))
    return found


def _scores(silhouette: Path) -> dict[str, dict[str, Any]]:
    """Space -> dimension, silhouette by domain (cosine), and the reason where it has none."""
    return {
        row["space"]: {
            "dimension": int(row["dimension"]) if row["dimension"] else None,
            "silhouette": float(row["silhouette"]) if row["silhouette"] else None,
            "reason": row["reason"],
        }
        for row in read_csv(silhouette)
        if row["distance"] == SHOWN and row["label"] == "domain"
    }
