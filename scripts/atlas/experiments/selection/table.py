"""The table of selection: how well models do that were composed for held-out tasks."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student

from atlas.experiments.marks import MEAN
from atlas.experiments.published import check_settings, published_figures
from atlas.figures.charts import draw_intervals
from atlas.files import read_csv, write_bytes, write_csv
from atlas.selection.strategies import LORAHUB

COLUMNS = ("selection", "task", "strategy", "method", "models", "examples", "rows", "seeds",
           "exact_match", "low", "high", "chance", "majority", "published")  # fmt: skip
LEVEL = 0.95


def selection_table(
    *, answers: list[Path], entries: list[dict[str, Any]], sizes: dict[str, dict[str, int]],
    settings: dict[str, str], published: Path, name: str, table: Path, page: Path,
    figure: list[Path]
) -> None:  # fmt: skip
    """Write the share of exact matches by task, strategy and method, and their mean over tasks.

    :param answers: answers.csv of each entry.
    :param entries: selection, task, strategy and seed (both None for base and few-shot model).
    :param sizes: selection -> models, examples.
    :param settings: selection -> setting of the published figures, which stand beside LoraHub's
        mean over tasks.
    :param figure: where it goes (:func:`atlas.figures.canvas.write`).
    """
    known = published_figures(published, name)
    check_settings(known, name, set(settings.values()))
    runs: list[dict[str, Any]] = []
    for entry, file in zip(entries, answers, strict=True):
        runs += [{**entry, **run} for run in scores(read_csv(file))]
    rows = []
    for row in summary(runs):
        size = sizes[row["selection"]]
        setting = settings.get(row["selection"])
        beside = row["task"] == MEAN and row["method"] == LORAHUB and setting is not None
        rows.append({
            **row, "examples": size["examples"],
            "models": size["models"] if row["strategy"] else None,
            "published": known.get((str(setting), row["strategy"])) if beside else None,
        })  # fmt: skip
    write_csv(table, COLUMNS, rows)
    write_bytes(page, _page(rows).encode())
    shown = {
        _label(row): (row["exact_match"], row["low"], row["high"], row["published"])
        for row in rows if row["task"] == MEAN
    }  # fmt: skip
    draw_intervals(figure, shown, "Exact match, mean over tasks",
                   "How often composed models answer exactly",
                   label="ours, 95 % interval over seeds")  # fmt: skip


def scores(answers: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Per method of one file: rows, exact_match, and what can be had without a model.

    ``chance``: a guess among the answers that occur; ``majority``: the share of the commonest.
    """
    found = []
    for method in dict.fromkeys(row["method"] for row in answers):
        mine = [row for row in answers if row["method"] == method]
        truths = Counter(row["truth"] for row in mine)
        found.append({
            "method": method, "rows": len(mine),
            "exact_match": sum(int(row["exact_match"]) for row in mine) / len(mine),
            "chance": 1 / len(truths), "majority": max(truths.values()) / len(mine),
        })  # fmt: skip
    return found


def summary(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds with their intervals, by task, then over all tasks.

    The mean over tasks is taken for each seed; its interval is over seeds.

    :param runs: selection, task, strategy, seed, method, rows, exact_match, chance, majority.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["selection"], run["strategy"], run["method"]), []).append(run)
    found = []
    for (selection, strategy, method), group in groups.items():
        tasks = list(dict.fromkeys(run["task"] for run in group))
        by_seed: dict[Any, list[float]] = {}
        for run in group:
            by_seed.setdefault(run["seed"], []).append(run["exact_match"])
        for task in tasks:
            mine = [run for run in group if run["task"] == task]
            found.append(_row(selection, task, strategy, method, mine,
                              [run["exact_match"] for run in mine]))  # fmt: skip
        means = [statistics.fmean(values) for values in by_seed.values()]
        one = [next(run for run in group if run["task"] == task) for task in tasks]
        found.append(_row(selection, MEAN, strategy, method, one, means))
    return found


def _row(
    selection: str, task: str, strategy: str | None, method: str, runs: Sequence[dict[str, Any]],
    values: Sequence[float],
) -> dict[str, Any]:  # fmt: skip
    mean, low, high = interval(values)
    rows = runs[0]["rows"] if task != MEAN else sum(run["rows"] for run in runs)
    return {
        "selection": selection, "task": task, "strategy": strategy, "method": method, "rows": rows,
        "seeds": len(values) if strategy else None, "exact_match": mean,
        "low": low, "high": high,
        "chance": statistics.fmean(run["chance"] for run in runs),
        "majority": statistics.fmean(run["majority"] for run in runs),
    }  # fmt: skip


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by Student's t; a single value has no width."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, mean, mean
    error = statistics.stdev(values) / math.sqrt(len(values))
    half = float(student.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return mean, mean - half, mean + half


def _label(row: dict[str, Any]) -> str:
    what = f"{row['strategy']}, {row['method']}" if row["strategy"] else row["method"]
    return f"{row['selection']}: {what}"


def _page(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["# Models composed for held-out tasks", "",
             "Exact match in per cent; in brackets the published figure. Intervals: 95 %, Student's t "
             "over seeds, which draw the models and their order; base and few-shot model have none.",
             ""]  # fmt: skip
    for selection in dict.fromkeys(row["selection"] for row in rows):
        mine = [row for row in rows if row["selection"] == selection]
        tasks = list(dict.fromkeys(row["task"] for row in mine if row["task"] != MEAN))
        lines += [f"## {selection}", "",
                  "| strategy | method | " + " | ".join(tasks) + " | mean | interval |",
                  "|---|---|" + "--:|" * (len(tasks) + 2)]  # fmt: skip
        cells = {(r["strategy"], r["method"], r["task"]): r for r in mine}
        for strategy, method in dict.fromkeys((r["strategy"], r["method"]) for r in mine):
            of = [cells[strategy, method, task] for task in tasks]
            mean = cells[strategy, method, MEAN]
            beside = "" if mean["published"] is None else f" ({100 * mean['published']:.1f})"
            wide = "" if not strategy else f"{100 * mean['low']:.1f} to {100 * mean['high']:.1f}"
            lines.append(f"| {strategy or '–'} | {method} | "
                         + " | ".join(f"{100 * row['exact_match']:.1f}" for row in of)
                         + f" | {100 * mean['exact_match']:.1f}{beside} | {wide or '–'} |")  # fmt: skip
        for key, what in (
            ("chance", "a guess among the answers"),
            ("majority", "the commonest answer"),
        ):
            of = [next(r for r in mine if r["task"] == task)[key] for task in [*tasks, MEAN]]
            lines.append(f"| – | {what} | " + " | ".join(f"{100 * v:.1f}" for v in of) + " | – |")
        lines.append("")
    return "\n".join(lines)
