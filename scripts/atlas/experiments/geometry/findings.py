"""What the table of geometry says: what is kept of the base's subspaces, whether rewards rise."""

from atlas.experiments.geometry.page import DECISION
from atlas.experiments.wording import Beside, Row, Rows, counted, interval, number, optional


def findings(table: Rows, beside: Beside) -> list[str]:
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
