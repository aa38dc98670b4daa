"""Columns that models of a navigator are coloured by, and their training curves."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.files import by_folder, read_csv, read_json

POINTS = 60  # of a training curve on the page
LAST = 0.25  # the training loss of a model is the mean over this last share of its steps
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ][0-9:.]+(Z|[+-]\d{2}:?\d{2})?)?")


@dataclass(frozen=True)
class Log:
    """Of a training: its loss at the end, its tokens, and its curve (steps and losses)."""

    loss: float | None
    tokens: int | None
    curve: dict[str, list[float]]


def column(values: Sequence[str]) -> dict[str, Any]:
    """Labels, sorted, and the place of each value among them."""
    labels = sorted(set(values))
    place = {label: k for k, label in enumerate(labels)}
    return {"labels": labels, "of": [place[value] for value in values]}


def read_logs(training: Sequence[Path]) -> dict[str, Log]:
    """Model -> what its training.csv says; a log without losses is left out."""
    found = {}
    for name, files in by_folder(training).items():
        rows = [row for row in read_csv(files[0]) if row.get("loss")]
        if not rows:
            continue
        losses = [float(row["loss"]) for row in rows]
        last = losses[-max(1, round(LAST * len(losses))) :]
        kept = sorted({round(k * (len(rows) - 1) / (POINTS - 1)) for k in range(POINTS)})
        tokens = rows[-1].get("tokens")
        curve = {
            "steps": [int(float(rows[k]["step"])) for k in kept],
            "loss": [round(losses[k], 4) for k in kept],
        }
        found[name] = Log(sum(last) / len(last), int(float(tokens)) if tokens else None, curve)
    return found


def further_columns(
    models: Sequence[Mapping[str, Any]], logs: Mapping[str, Log], counts: Sequence[Path]
) -> list[dict[str, Any]]:
    """Columns beside domain, recipe and base that tell models apart.

    :param models: as the navigator is told of them. :param logs: of those that were trained here.
    :param counts: rows.counts.json of these.
    :returns: key, title, and labels (with the place of each model's own) or values (None: none; ISO
        dates where ``date`` is true). A column with one value for all is left out.
    """
    rows = {name: read_json(files[0])["rows"] for name, files in by_folder(counts).items()}
    names = [model["name"] for model in models]
    data = [model.get("data") or [] for model in models]
    texts = {
        "dataset": ("Dataset", [" + ".join(part["dataset"] for part in parts) for parts in data]),
        "split": ("Split", [" + ".join(part["split"] or "" for part in parts) for parts in data]),
    }
    numbers = {
        "loss": ("Training loss", [log.loss if (log := logs.get(n)) else None for n in names]),
        "rows": ("Training rows", [rows.get(name) for name in names]),
        "tokens": (
            "Training tokens",
            [log.tokens if (log := logs.get(n)) else None for n in names],
        ),
    }
    found = [
        {"key": key, "title": title, **column(values)} for key, (title, values) in texts.items()
    ]
    for key, (title, values) in numbers.items():
        short = [None if value is None else float(f"{value:.6g}") for value in values]
        found.append({"key": key, "title": title, "values": short})
    for key in sorted({key for model in models for key in model.get("more") or {}}):
        values = [(model.get("more") or {}).get(key, "") for model in models]
        found.append({"key": f"sheet:{key}", "title": key, **_of_sheet(values)})
    return [c for c in found if len(c.get("labels") or set(c["values"])) > 1]


def _of_sheet(values: Sequence[str]) -> dict[str, Any]:
    """A column of a sheet: dates or numbers where all that is there is, else labels."""
    there = [value for value in values if value]
    if there and all(DATE.fullmatch(value) for value in there):
        return {"date": True, "values": [value or None for value in values]}
    if there and all(NUMBER.fullmatch(value) for value in there):
        return {"values": [float(value) if value else None for value in values]}
    return column(values)
