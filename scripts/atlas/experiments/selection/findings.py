"""What the table of selection says: the strategies, against one another and no model at all."""

from atlas.experiments.marks import MEAN
from atlas.experiments.wording import (
    Beside,
    Row,
    Rows,
    against,
    counted,
    listed,
    number,
    optional,
    overlap,
)
from atlas.selection.strategies import LORAHUB


def findings(table: Rows, beside: Beside) -> list[str]:
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
    if int(row["seeds"]) > 1 and low <= common <= high:
        how = "which is not told apart from"
    else:
        how = "more than" if value > common else "less than" if value < common else "as much as"
    return (f"Models of `{selection}` chosen by `{row['strategy']}` and composed answer {_spread(row)} of "
            f"{counted(tasks, 'task')} exactly{beside}, {how} the commonest answer alone "
            f"({number(100 * common, 1)} %).")  # fmt: skip


def _between(selection: str, composed: Rows) -> list[str]:
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
