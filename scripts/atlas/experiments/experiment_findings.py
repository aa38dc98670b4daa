"""What tables of experiments say, in sentences: mixtures, retrieval, outputs, selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from atlas.experiments.repetitions import MEAN as SEED_MEAN
from atlas.experiments.selection_tables import MEAN
from atlas.experiments.silhouette_findings import settled
from atlas.experiments.wording import (
    against,
    counted,
    includes,
    listed,
    number,
    optional,
    overlap,
    percent,
)
from atlas.selection.strategies import LORAHUB

Row = Mapping[str, str]
PARTS = ("cosine_first", "cosine_second")
SUM = "cosine_sum"


def additive_findings(table: Sequence[Row]) -> list[str]:
    """Findings of additivity: whether a mixture is closest to the sum of its parts."""
    rows = settled(table)
    closest = [float(row[SUM]) >= max(float(row[part]) for part in PARTS) for row in rows]
    sums = fmean(float(row[SUM]) for row in rows)
    nearer = fmean(max(float(row[part]) for part in PARTS) for row in rows)
    found = [
        f"A model of a mixture is closer to the sum of the models of its parts than to either of "
        f"them in {sum(closest)} of {counted(len(rows), 'pair')} of domains; its mean cosine is "
        f"{number(sums)} with the sum and {number(nearer)} with the nearer part."
    ]
    failing = [f"{row['first']} with {row['second']}"
               for row, yes in zip(rows, closest, strict=True) if not yes]  # fmt: skip
    if failing:
        found.append(f"It is not so for {listed(failing)}.")
    known = [(row, yes) for row, yes in zip(rows, closest, strict=True) if row[f"published_{SUM}"]]
    if known:
        theirs = [float(row[f"published_{SUM}"]) >= max(float(row[f"published_{part}"]) for part in PARTS)
                  for row, _ in known]  # fmt: skip
        found.append(f"Of the {counted(len(known), 'pair')} that the paper has, the sum is closest in "
                     f"{sum(yes for _, yes in known)} here and in {sum(theirs)} there.")  # fmt: skip
    return found


def retrieval_findings(table: Sequence[Row], accuracy: str = "accuracy") -> list[str]:
    """Findings of retrieval: how often the nearest model has the domain of a few examples.

    :param accuracy: what stands in the column query of the rows that sum up.
    """
    found = []
    for row in settled([row for row in table if row["query"] == accuracy]):
        queries = [r for r in table if r["query"] != accuracy and r["pool"] == row["pool"]]
        value = float(row["accuracy"])
        over = ", mean over seeds" if row["seed"] == SEED_MEAN else ""
        ranks = [int(r["rank"]) for r in queries]
        found.append(
            f"In `{row['pool']}`, the nearest model has the domain of the examples for "
            f"{percent(value)} of {counted(len(queries), 'query', 'queries')}{over}"
            f"{against(value, optional(row['published']))}; the first model of the domain stands at "
            f"rank {max(ranks)} at the latest."
        )
    return found


def outputs_findings(table: Sequence[Row]) -> list[str]:
    """What there is to read of outputs; nothing is claimed about them."""
    models = {(row["pool"], row["model"]) for row in table}
    texts = [row["text"] for row in table]
    return [f"{counted(len(models), 'model')} wrote {counted(len(texts), 'text')} to the probes, "
            f"{len(set(texts)):,} of them different from one another."]  # fmt: skip


def selection_findings(table: Sequence[Row]) -> list[str]:
    """Findings of selection: the strategies, against one another and against no model at all."""
    found = []
    for selection in dict.fromkeys(row["selection"] for row in table):
        rows = [r for r in table if r["selection"] == selection and r["task"] == MEAN]
        tasks = len({r["task"] for r in table if r["selection"] == selection} - {MEAN})
        composed = [row for row in rows if row["method"] == LORAHUB]
        composed.sort(key=lambda row: -float(row["exact_match"]))
        found += [_composed(selection, tasks, row) for row in composed]
        found += _between(selection, composed)
        alone = [f"{row['method']} {number(100 * float(row['exact_match']), 1)} %"
                 for row in rows if not row["strategy"]]  # fmt: skip
        merges = [row for row in rows if row["strategy"] and row["method"] != LORAHUB]
        if alone:
            found.append(f"Without composing, the exact match in `{selection}` is {listed(alone)}.")
        if merges:
            best = max(merges, key=lambda row: float(row["exact_match"]))
            found.append(f"The best of PEFT's own merges in `{selection}` is {best['method']} of models "
                         f"chosen by `{best['strategy']}`, with {_spread(best)}.")  # fmt: skip
    return found


def _spread(row: Row) -> str:
    """An exact match in per cent with its interval over seeds."""
    value, low, high = (100 * float(row[key]) for key in ("exact_match", "low", "high"))
    if int(row["seeds"]) < 2:
        return f"{number(value, 1)} % (one seed, no interval)"
    return f"{number(value, 1)} % (95 % interval over seeds {number(low, 1)} to {number(high, 1)})"


def _composed(selection: str, tasks: int, row: Row) -> str:
    """One strategy of LoraHub, against always giving the commonest answer."""
    value, low, high, common = (
        float(row[key]) for key in ("exact_match", "low", "high", "majority")
    )
    published = optional(row["published"])
    beside = against(100 * value, None if published is None else 100 * published, 1)
    if int(row["seeds"]) > 1 and includes(low, high, common):
        how = "which is not told apart from"
    else:
        how = "more than" if value > common else "less than" if value < common else "as much as"
    return (f"Models of `{selection}` chosen by `{row['strategy']}` and composed answer {_spread(row)} of "
            f"{counted(tasks, 'task')} exactly{beside}, {how} the commonest answer alone "
            f"({number(100 * common, 1)} %).")  # fmt: skip


def _between(selection: str, composed: Sequence[Row]) -> list[str]:
    """How sure the order of the best and the last strategy is."""
    if len(composed) < 2:
        return []
    best, last = composed[0], composed[-1]
    if best["exact_match"] == last["exact_match"]:
        return [f"In `{selection}`, all strategies do equally well."]
    text = f"In `{selection}`, `{best['strategy']}` is ahead of `{last['strategy']}`"
    if min(int(best["seeds"]), int(last["seeds"])) < 2:
        return [f"{text}; one seed does not say how sure that is."]
    ends = [(float(row["low"]), float(row["high"])) for row in (best, last)]
    if overlap(*ends):
        return [f"{text}, but their intervals overlap: the order is uncertain."]
    return [f"{text}, and their intervals do not overlap."]
