"""What deltas do to models, in sentences: what tables of checkpoints share."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from atlas.experiments.wording import Rows, counted, moved, number, percent

TEXT, CHAT = "perplexity", "chat_loss"
ONE_EACH = (
    "Each of these figures is one measurement of one model: there is no interval, and small "
    "differences may be chance."
)


def deltas_findings(table: Rows) -> list[str]:
    """What each delta does to each model: perplexity kept, and answers as the instruct model's."""
    found = []
    for delta, model in dict.fromkeys((row["delta"], row["model"]) for row in table):
        rows = [row for row in table if (row["delta"], row["model"]) == (delta, model)]
        for text in dict.fromkeys(row["on"] for row in rows if row["measure"] == TEXT):
            found.append(_perplexity(delta, model, text, _by_role(rows, TEXT, text)))
        chats = list(dict.fromkeys(row["on"] for row in rows if row["measure"] == CHAT))
        if chats:
            found.append(_chats(delta, model, [_by_role(rows, CHAT, chat) for chat in chats]))
    return found


def _by_role(rows: Rows, measure: str, on: str) -> dict[str, float]:
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
