"""What the table of geometry says: what is kept of the base's subspaces, whether rewards rise."""

from atlas.experiments.marks import DECISION
from atlas.experiments.wording import Beside, Row, Rows, interval, number, optional


def findings(table: Rows, beside: Beside) -> list[str]:
    """Findings of geometry: what is kept of the base's subspaces, and whether rewards rise.

    The first sentence is of uncentred activations, as published, and follows from the interval over
    models; the second of centred ones, which is ours.
    """
    found = []
    for name in dict.fromkeys(row["comparison"] for row in table):
        as_published, ours = (
            row for row in table if (row["comparison"], row["measure"]) == (name, DECISION)
        )
        found.append(_kept(as_published, "uncentred activations, as published"))
        found.append(_kept(ours, "centred activations"))
        found.append(_rewards(ours))
    return found


def _kept(row: Row, activations: str) -> str:
    name = f"`{row['comparison']}`"
    if row["reason"]:
        reason = row["reason"].rstrip(".")
        return f"In {name}, nothing can be said of subspaces ({activations}): {reason}."
    difference = float(row["difference"])
    low, high = (optional(row[key]) for key in ("model_low", "model_high"))
    figures = (f"{number(float(row['rl_mean']), 3)} against {number(float(row['sft_mean']), 3)}"
               f"{_published(row)}; difference {number(difference, 4)}")  # fmt: skip
    rule = f"by the published rule, which counts layers and tasks, this is *{row['decision']}*"
    if low is None or high is None or low <= 0 <= high:
        why = _alone(row) if low is None or high is None else _over_models(row, low, high)
        return (f"Models trained with rewards and models fine-tuned on solutions are not told apart in "
                f"{name} by what they keep of the base's subspaces ({activations}: {figures}; {why}); "
                f"{rule}.")  # fmt: skip
    how = "more" if difference > 0 else "less"
    return (f"In {name}, models trained with rewards keep {how} of the base's subspaces than models "
            f"fine-tuned on solutions ({activations}: {figures}; {_over_models(row, low, high)}); "
            f"{rule}.")  # fmt: skip


def _over_models(row: Row, low: float, high: float) -> str:
    rl, sft = (len(row[side].split(", ")) for side in ("rl", "sft"))
    return f"over {rl} and {sft} models, {interval(low, high, 4)}"


def _alone(row: Row) -> str:
    """Why there is no interval over models."""
    if any(", " not in row[side] for side in ("rl", "sft")):
        return "one model of a side has no interval over models"
    return "neither side varies over its models"


def _published(row: Row) -> str:
    sides = [optional(row[f"{side}_published"]) for side in ("rl", "sft")]
    theirs = [number(value, 3) if value is not None else "–" for value in sides]
    return f"; published: {theirs[0]} against {theirs[1]}" if sides != [None, None] else ""


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
