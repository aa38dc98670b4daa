"""Whether the labels of a pool stand apart, in sentences: what tables of silhouettes share."""

from atlas.experiments.marks import MEAN
from atlas.experiments.wording import (
    SURE,
    Row,
    against,
    enough,
    interval,
    number,
    optional,
    percent,
    space_name,
)

CLIPPED = "cosine_clipped"
DIGITS = 3  # of silhouettes, as the paper has them
# How much a silhouette is, by the bounds of Kaufman and Rousseeuw (Finding Groups in Data, 1990):
# above .5 there is a structure, above .25 a weak one, below none to speak of.
GRADES = ((0.5, "stand clearly apart"), (0.25, "stand weakly apart"), (0.0, "hardly stand apart"))


def doubt(row: Row) -> str:
    """Why it is uncertain whether labels stand apart at all, or an empty text.

    :param row: low, high and p_value of a silhouette; empty where there are none.
    """
    low, high, p = (optional(row.get(key)) for key in ("low", "high", "p_value"))
    reasons = []
    if low is not None and high is not None and low <= 0 <= high:
        reasons.append("the interval includes 0")
    if p is not None and p >= SURE:
        reasons.append(f"random labels do as well in {percent(p)} of the cases")
    return " and ".join(reasons)


def grade(silhouette: float) -> str:
    """How far labels stand apart, in words."""
    return next((words for least, words in GRADES if silhouette > least), "do not stand apart")


def figure(row: Row) -> str:
    """A silhouette with what is known of its uncertainty, and the published figure beside it."""
    value = float(row["silhouette"])
    low, high, p = (optional(row.get(key)) for key in ("low", "high", "p_value"))
    parts = [f"silhouette {number(value, enough(DIGITS, value))}"]
    if row.get("seed") == MEAN:
        parts.append("mean over seeds")
    if low is not None and high is not None:
        parts.append(interval(low, high, DIGITS))
    if p is not None:
        parts.append(f"p = {number(p, 3)}")
    return ", ".join(parts) + against(value, optional(row.get("published")), DIGITS)


def stands_apart(pool: str, row: Row) -> str:
    """Whether the labels of a pool stand apart in a space.

    :param row: space, silhouette, reason; label (default: domain), low, high, p_value, published.
    """
    what = f"the {row.get('label') or 'domain'}s of `{pool}`"
    by = f"by {space_name(row['space'])}"
    if not row["silhouette"]:
        return f"Nothing is known of {what} {by}: {row.get('reason') or 'there is no silhouette'}."
    if why := doubt(row):
        return f"Whether {what} stand apart {by} is uncertain ({figure(row)}): {why}."
    return f"{what[0].upper()}{what[1:]} {grade(float(row['silhouette']))} {by} ({figure(row)})."
