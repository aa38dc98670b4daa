"""Bases, models, instruct and merged models side by side: what a delta does to a model.

Measures: perplexity (on: a dataset), chat_loss (on: a dataset; nats per token of the answer),
chat_template (1 or 0), chat_ended (share of the answers that ended by themselves),
answer_plain and answer_chat (on: a question; in the column text).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import read_json

COLUMNS = ("delta", "model", "role", "checkpoint", "measure", "on", "value", "text")
ROLES = ("base", "instruct", "model", "merged")


def checkpoint_rows(
    evaluations: Sequence[Path], entries: Sequence[dict[str, str]]
) -> Iterator[dict[str, Any]]:
    """Tidy rows of the checkpoints; one that several entries share stands once per entry.

    :raises AtlasError: where a checkpoint was not evaluated.
    """
    found = {entry["checkpoint"]: entry for entry in map(read_json, evaluations)}
    for entry in entries:
        if entry["checkpoint"] not in found:
            raise AtlasError(f"{entry['checkpoint']}: was not evaluated.")
        for measure, on, value, text in _measures(found[entry["checkpoint"]]):
            yield {**entry, "measure": measure, "on": on, "value": value, "text": text}


def _measures(found: dict[str, Any]) -> Iterator[tuple[str, str, float | None, str]]:
    for dataset, text in found["texts"].items():
        yield "perplexity", dataset, text["perplexity"], ""
    for dataset, chat in found["chats"].items():
        yield "chat_loss", dataset, chat["loss"], ""
    answers = found["answers"]
    yield "chat_template", "", float(found["chat_template"]), ""
    if found["chat_template"] and answers:
        yield "chat_ended", "", sum(a["chat_ended"] for a in answers) / len(answers), ""
    for answer in answers:
        for kind in ("plain", "chat"):
            if kind in answer:
                yield f"answer_{kind}", answer["question"], None, answer[kind]


def checkpoint_page(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of a page that has the checkpoints of each model and delta side by side."""
    lines = ["# Instruction deltas: the checkpoints side by side", ""]
    for delta, model in dict.fromkeys((row["delta"], row["model"]) for row in rows):
        group = [row for row in rows if (row["delta"], row["model"]) == (delta, model)]
        names = {role: next(r["checkpoint"] for r in group if r["role"] == role) for role in ROLES}
        lines += [f"## {model} and the delta {delta}", "",
                  "| measure | on | " + " | ".join(f"{r}: {names[r]}" for r in ROLES) + " |",
                  "|---|---|" + "--:|" * len(ROLES)]  # fmt: skip
        values = [row for row in group if row["value"] is not None]
        for measure, on in dict.fromkeys((row["measure"], row["on"]) for row in values):
            cells = {r["role"]: f"{r['value']:.3f}" for r in values
                     if (r["measure"], r["on"]) == (measure, on)}  # fmt: skip
            lines.append(f"| {measure.replace('_', ' ')} | {on} | "
                         + " | ".join(cells.get(role, "–") for role in ROLES) + " |")  # fmt: skip
        lines.append("")
        texts = [row for row in group if row["value"] is None]
        for on in dict.fromkeys(row["on"] for row in texts):
            lines += [f"**{on}**", ""]
            for row in (r for r in texts if r["on"] == on and r["measure"] == "answer_chat"):
                flat = " ".join(row["text"].split()) or "(nothing)"
                shown = re.sub(r"[\\`*_\[\]<>#|]", r"\\\g<0>", flat)
                lines.append(f"* {row['role']}: {shown}")
            lines.append("")
    return lines
