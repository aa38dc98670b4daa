"""What tables of checkpoints and of geometry say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from atlas.experiments.geometry_tables import DECISION
from atlas.experiments.silhouette_findings import space_name
from atlas.experiments.wording import counted, interval, listed, moved, number, optional, percent

Row = Mapping[str, str]
TEXT, CHAT = "perplexity", "chat_loss"
ONE_EACH = (
    "Each of these figures is one measurement of one model: there is no interval, and small "
    "differences may be chance."
)


def instruct_findings(table: Sequence[Row]) -> list[str]:
    """Findings of instruction deltas: perplexity kept, and answers as the instruct model's."""
    found = _deltas(table)
    return [*found, ONE_EACH] if found else []


def _deltas(table: Sequence[Row]) -> list[str]:
    """What each delta does to each model."""
    found = []
    for delta, model in dict.fromkeys((row["delta"], row["model"]) for row in table):
        rows = [row for row in table if (row["delta"], row["model"]) == (delta, model)]
        for text in dict.fromkeys(row["on"] for row in rows if row["measure"] == TEXT):
            found.append(_perplexity(delta, model, text, _by_role(rows, TEXT, text)))
        chats = list(dict.fromkeys(row["on"] for row in rows if row["measure"] == CHAT))
        if chats:
            found.append(_chats(delta, model, [_by_role(rows, CHAT, chat) for chat in chats]))
    return found


def _by_role(rows: Sequence[Row], measure: str, on: str) -> dict[str, float]:
    return {row["role"]: float(row["value"]) for row in rows
            if (row["measure"], row["on"]) == (measure, on)}  # fmt: skip


def _perplexity(delta: str, model: str, text: str, of: Mapping[str, float]) -> str:
    """What training did to the perplexity of a text, and what of it the delta leaves."""
    base, trained, merged = of["base"], of["model"], of["merged"]
    what = f"The perplexity of `{text}` {moved(base, trained, 1)} from the base to `{model}`"
    kept = f"with the delta `{delta}` it is {number(merged, 1)}"
    if trained >= base:
        return f"{what}; {kept}."
    if merged >= base:
        return f"{what}; {kept}, so that nothing of the gain is left."
    return f"{what}; {kept}, which keeps {percent((base - merged) / (base - trained))} of the gain."


def _chats(delta: str, model: str, chats: Sequence[Mapping[str, float]]) -> str:
    """Mean loss of answers, before and after the delta, beside the instruct model's."""
    means = {role: fmean(chat[role] for chat in chats) for role in ("model", "merged", "instruct")}
    better = sum(chat["merged"] < chat["model"] for chat in chats)
    return (f"The loss of the answers of `{model}` {moved(means['model'], means['merged'])} with the "
            f"delta `{delta}`, mean over {counted(len(chats), 'dataset')}; it is lower in {better} of "
            f"them. The instruct model has {number(means['instruct'])}.")  # fmt: skip


def temporal_findings(table: Sequence[Row], distances: Sequence[Row]) -> list[str]:
    """Findings of the periods: which model reads which text best, and how far they stand apart."""
    found = []
    texts = [row for row in table if row["measure"] == TEXT]
    for text in dict.fromkeys(row["on"] for row in texts):
        models = {row["model"]: float(row["value"]) for row in texts
                  if (row["on"], row["role"]) == (text, "model")}  # fmt: skip
        base = next(float(r["value"]) for r in texts if (r["on"], r["role"]) == (text, "base"))
        order = sorted(models, key=lambda name: models[name])
        figures = listed([f"`{name}` {number(models[name], 1)}" for name in order])
        found.append(
            f"On `{text}`, the lowest perplexity is that of `{order[0]}`: {figures}; the base has "
            f"{number(base, 1)}."
        )
    known = {(r["pool"], r["space"], r["delta"], r["one"], r["other"]): float(r["distance"])
             for r in distances if r["distance"]}  # fmt: skip
    for pool, space, delta, one, other in known:
        plain = (pool, space, "", *(name.removesuffix(f"+{delta}") for name in (one, other)))
        if delta and plain in known:
            change = moved(known[plain], known[pool, space, delta, one, other])
            found.append(f"By {space_name(space)}, the distance of `{plain[3]}` and `{plain[4]}` "
                         f"{change} with the delta `{delta}`.")  # fmt: skip
    return [*_deltas(table), *found, ONE_EACH]


def geometry_findings(table: Sequence[Row]) -> list[str]:
    """Findings of geometry: what is kept of the base's subspaces, and whether rewards rise."""
    found = []
    for row in (row for row in table if row["measure"] == DECISION):
        found.append(_kept(row))
        found.append(_rewards(row))
        found += _few(row)
    return found


def _kept(row: Row) -> str:
    name = f"`{row['comparison']}`"
    if row["reason"]:
        return f"In {name}, nothing can be said of subspaces: {row['reason']}."
    difference, low, high = (float(row[key]) for key in ("difference", "low", "high"))
    figures = (f"{number(float(row['rl_mean']), 3)} against {number(float(row['sft_mean']), 3)}; "
               f"difference {number(difference, 4)}, {interval(low, high, 4)}")  # fmt: skip
    rule = f"by the published rule this is *{row['decision']}*"
    if low <= 0 <= high:
        return (f"Whether models trained with rewards or models fine-tuned on solutions keep more of "
                f"the base's subspaces in {name} is uncertain ({figures}); {rule}.")  # fmt: skip
    how = "more" if difference > 0 else "less"
    return (f"In {name}, models trained with rewards keep {how} of the base's subspaces than models "
            f"fine-tuned on solutions ({figures}); {rule}.")  # fmt: skip


def _few(row: Row) -> list[str]:
    """What one model of a side cannot say."""
    sides = [len(row[side].split(", ")) for side in ("rl", "sft")]
    if min(sides) > 1:
        return []
    return [f"`{row['comparison']}` has {counted(sides[0], 'model')} trained with rewards and "
            f"{sides[1]} fine-tuned on solutions: intervals are over layers and tasks, and say nothing "
            f"of other models."]  # fmt: skip


def _rewards(row: Row) -> str:
    value, low, high = (optional(row[key]) for key in ("reward_slope", "reward_low", "reward_high"))
    name = f"`{row['comparison']}`"
    if value is None or low is None or high is None:
        return f"In {name}, there is no slope of the rewards: {row['reward_reason']}."
    if low <= 0 <= high:
        what = f"Whether the mean reward changes in {name} is uncertain: the slope is"
    else:
        what = f"In {name}, the mean reward {'rises' if value > 0 else 'falls'}:"
    return (f"{what} {number(value, 4)} per step over {row['reward_steps']} steps "
            f"({interval(low, high, 4)}).")  # fmt: skip
