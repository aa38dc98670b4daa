"""Bases, models, instruct and merged models side by side: what a delta does to a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.figures.charts import draw_groups
from atlas.files import read_json, write_bytes, write_csv
from atlas.spaces.embeddings import read_embeddings

COLUMNS = ("delta", "model", "role", "checkpoint", "measure", "on", "value", "text")
DISTANCE_COLUMNS = ("pool", "space", "delta", "one", "other", "distance", "reason")
ROLES = ("base", "instruct", "model", "merged")


def instruct_table(
    *, evaluations: list[Path], entries: list[dict[str, str]], table: Path, page: Path
) -> None:
    """Write what base, instruct model, model and merged model make of the same rows.

    Measures: perplexity (on: a dataset), chat_loss (on: a dataset; nats per token of the answer),
    chat_template (1 or 0), chat_ended (share of the answers that ended by themselves),
    answer_plain and answer_chat (on: a question; in the column text).

    :param evaluations: of every checkpoint (:mod:`atlas.evaluation.checkpoints`).
    :param entries: delta, model, role and checkpoint of each line of the comparison.
    """
    rows = list(checkpoint_rows(evaluations, entries))
    write_csv(table, COLUMNS, rows)
    write_bytes(page, "\n".join(_page(rows)).encode())


def temporal_table(
    *,
    evaluations: list[Path],
    entries: list[dict[str, str]],
    embeddings: list[Path],
    pools: list[str],
    pairs: list[list[str]],
    name: str,
    table: Path,
    distances: Path,
    page: Path,
    figure: list[Path],
) -> None:
    """Write the same rows, and how far the models stand from one another before and after a delta.

    :param embeddings: of each pool of `pools`, in that order, any number of spaces each.
    :param pairs: one, other, and the delta that both have ("" for none).
    :param distances: pool, space, delta, one, other, distance (1 - cosine), reason.
    :param figure: perplexity of each checkpoint on each text, as SVG and as PNG.
    """
    rows = list(checkpoint_rows(evaluations, entries))
    write_csv(table, COLUMNS, rows)
    apart = list(pair_distances(embeddings, pools, pairs))
    write_csv(distances, DISTANCE_COLUMNS, apart)
    write_bytes(page, "\n".join([*_page(rows), *_distance_page(apart)]).encode())
    texts = [row for row in rows if row["measure"] == "perplexity"]
    labels = list(dict.fromkeys(row["on"] for row in texts))
    values = {(row["checkpoint"], row["on"]): row["value"] for row in texts}
    groups = {c: [values[c, on] for on in labels] for c in dict.fromkeys(c for c, _ in values)}
    draw_groups(figure, groups, labels, "Perplexity on held-out text", name)


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


def pair_distances(
    embeddings: Sequence[Path], pools: Sequence[str], pairs: Sequence[Sequence[str]]
) -> Iterator[dict[str, Any]]:
    """1 - cosine of each pair of models in each space of each pool that has both.

    A space that has no embedding of the pool gives a row with its reason.
    """
    for pool, file in zip(pools, embeddings, strict=True):
        stored = read_embeddings(file)
        places = {name: i for i, name in enumerate(stored.model_names)}
        similarity = None if stored.reason else stored.cosine_similarity()
        for one, other, delta in pairs:
            if one not in places or other not in places:
                continue
            distance = None
            if similarity is not None:
                distance = float(1 - similarity[places[one], places[other]])
            yield {"pool": pool, "space": stored.space, "delta": delta, "one": one, "other": other,
                   "distance": distance, "reason": stored.reason}  # fmt: skip


def _page(rows: Sequence[dict[str, Any]]) -> list[str]:
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
                lines.append(f"* {row['role']}: {_one_line(row['text'])}")
            lines.append("")
    return lines


def _one_line(text: str) -> str:
    """A text that Markdown shows as it is."""
    flat = " ".join(text.split()) or "(nothing)"
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in flat)


def _distance_page(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["## Distance of the models, before and after the delta", "",
             "| space | delta | one | other | 1 - cosine |", "|---|---|---|---|--:|"]  # fmt: skip
    for row in rows:
        shown = f"– ({row['reason']})" if row["reason"] else f"{row['distance']:.4f}"
        lines.append(f"| {row['space']} | {row['delta'] or 'none'} | {row['one']} | {row['other']} "
                     f"| {shown} |")  # fmt: skip
    return [*lines, ""]
