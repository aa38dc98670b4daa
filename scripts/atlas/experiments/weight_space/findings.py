"""What the table of weight space says: what the intervals over models tell apart."""

from atlas.experiments.weight_space.measures import MEASURES
from atlas.experiments.weight_space.page import short
from atlas.experiments.wording import Beside, Row, Rows, counted, optional


def findings(table: Rows, beside: Beside) -> list[str]:
    """A sentence for each comparison and measure that has one."""
    return [_sentence(row) for row in table if MEASURES[row["measure"]].sentence]


def _sentence(row: Row) -> str:
    measure, name = MEASURES[row["measure"]], f"`{row['comparison']}`"
    what = f"{measure.label} ({measure.unit})"
    difference, low, high = (optional(row[key]) for key in ("difference", "low", "high"))
    if difference is None:
        return f"In {name}, there is nothing to say of {what}: {row['reason']}."
    figures = (f"RL {short(float(row['rl_mean']))} against SFT {short(float(row['sft_mean']))}, "
               f"{counted(int(row['rl_models']), 'model')} against {row['sft_models']}")  # fmt: skip
    if low is None or high is None:
        return f"In {name}, the sides are not told apart by {what}: {figures}; {row['reason']}."
    within = low <= 0 <= high
    figures += (f"; difference {short(difference)}, 95 % interval {short(low)} to {short(high)}, which "
                f"{'includes' if within else 'excludes'} 0")  # fmt: skip
    if within:
        return f"In {name}, the sides are not told apart by {what}: {figures}."
    does = str(measure.sentence).format(how="more" if difference > 0 else "less")
    return (f"In {name}, models trained with rewards {does} than models fine-tuned on solutions: "
            f"{figures}.")  # fmt: skip
