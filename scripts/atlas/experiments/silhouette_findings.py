"""What tables of silhouettes say, in sentences: whether the domains of a pool stand apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from atlas.experiments.repetitions import MEAN, SPREAD
from atlas.experiments.tables import AVERAGE
from atlas.experiments.wording import (
    SURE,
    against,
    counted,
    includes,
    interval,
    listed,
    number,
    optional,
    overlap,
    percent,
)
from atlas.spaces.names import space_title

Row = Mapping[str, str]
CLIPPED = "cosine_clipped"
DIGITS = 3  # of silhouettes, as the paper has them


def space_name(space: str) -> str:
    """An embedding space as it stands in a sentence."""
    return space_title(space).lower()


def settled(rows: Sequence[Row]) -> list[Row]:
    """Of rows by seed the means over seeds where there are any, else the rows as they are."""
    means = [row for row in rows if row["seed"] == MEAN]
    return means or [row for row in rows if row["seed"] != SPREAD]


def doubt(row: Row) -> str:
    """Why it is uncertain whether labels stand apart at all, or an empty text.

    :param row: low, high and p_value of a silhouette; empty where there are none.
    """
    low, high, p = (optional(row.get(key)) for key in ("low", "high", "p_value"))
    reasons = []
    if low is not None and high is not None and includes(low, high):
        reasons.append("the interval includes 0")
    if p is not None and p >= SURE:
        reasons.append(f"random labels do as well in {percent(p)} of the cases")
    return " and ".join(reasons)


def figure(row: Row) -> str:
    """A silhouette with what is known of its uncertainty, and the published figure beside it."""
    value = float(row["silhouette"])
    parts = [f"silhouette {number(value, DIGITS)}"]
    low, high, p = (optional(row.get(key)) for key in ("low", "high", "p_value"))
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
    if float(row["silhouette"]) > 0:
        return f"{what[0].upper()}{what[1:]} stand apart {by} ({figure(row)})."
    return f"{what[0].upper()}{what[1:]} do not stand apart {by} ({figure(row)})."


def main_findings(
    table: Sequence[Row],
    silhouettes: Mapping[str, Sequence[Row]],
    neighbours: Mapping[str, Sequence[Row]],
) -> list[str]:
    """Findings of a main table, pool by pool, then of their average.

    :param table: the rows of the table. :param silhouettes: pool -> rows of its silhouette.csv,
        for intervals and reasons. :param neighbours: pool -> rows of its neighbours.csv.
    """
    found = []
    clipped = [row for row in table if row["distance"] == CLIPPED]
    pools = [pool for pool in dict.fromkeys(row["pool"] for row in clipped) if pool != AVERAGE]
    for pool in pools:
        sure = {row["space"]: row for row in silhouettes[pool]
                if (row["distance"], row["label"]) == (CLIPPED, "domain")}  # fmt: skip
        rows = [{**sure[row["space"]], **row} for row in clipped if row["pool"] == pool]
        rows.sort(key=lambda row: -(optional(row["silhouette"]) or float("-inf")))
        found += [stands_apart(pool, row) for row in rows]
        found += _order(pool, [row for row in rows if row["silhouette"]])
        found += _published_order(pool, rows)
        found += _nearest(pool, neighbours[pool])
    mean = [row for row in clipped if row["pool"] == AVERAGE and row["silhouette"]]
    if len(pools) > 1 and mean:
        mean.sort(key=lambda row: -float(row["silhouette"]))
        figures = [f"{space_name(row['space'])} {number(float(row['silhouette']), DIGITS)}"
                   + against(float(row["silhouette"]), optional(row["published"]), DIGITS).replace("; ", ", ")
                   for row in mean]  # fmt: skip
        found.append(f"Mean silhouettes over {counted(len(pools), 'pool')}: {'; '.join(figures)}.")
    return found


def _order(pool: str, rows: Sequence[Row]) -> list[str]:
    """How sure the order of the two highest silhouettes is."""
    if len(rows) < 2:
        return []
    first, second = rows[:2]
    names = [space_name(row["space"]) for row in (first, second)]
    ends = [(optional(row.get("low")), optional(row.get("high"))) for row in (first, second)]
    (low, high), (other_low, other_high) = ends
    text = f"In `{pool}`, the domains stand apart most by {names[0]}, then by {names[1]}"
    if low is None or high is None or other_low is None or other_high is None:
        return [f"{text}; there are no intervals to say how sure that order is."]
    if overlap((low, high), (other_low, other_high)):
        return [f"{text}; their intervals overlap, so that the order of the two is uncertain."]
    return [f"{text}; their intervals do not overlap."]


def _published_order(pool: str, rows: Sequence[Row]) -> list[str]:
    """Whether the spaces come in the order of the published figures."""
    both = [row for row in rows if row["silhouette"] and row["published"]]
    if len(both) < 2:
        return []
    theirs = sorted(both, key=lambda row: -float(row["published"]))
    order = listed([space_name(row["space"]) for row in theirs])
    if [row["space"] for row in theirs] == [row["space"] for row in both]:
        return [f"The order of the spaces in `{pool}` is the published one: {order}."]
    here = listed([space_name(row["space"]) for row in both])
    return [f"The order of the spaces in `{pool}` is not the published one: here {here}; "
            f"published {order}."]  # fmt: skip


def _nearest(pool: str, neighbours: Sequence[Row]) -> list[str]:
    """How often the nearest neighbour has the model's domain, space by space."""
    first = [row for row in neighbours if row["rank"] == "1"]
    if not first:
        return []
    parts = []
    for space in dict.fromkeys(row["space"] for row in first):
        own = [row["neighbour_domain"] == row["domain"] for row in first if row["space"] == space]
        parts.append(f"{sum(own)} of {len(own)} by {space_name(space)}")
    return [f"The nearest neighbour of a model of `{pool}` has its domain for {listed(parts)}."]


def silhouettes_findings(table: Sequence[Row]) -> list[str]:
    """Findings of a table of silhouettes: each pool, space and label, then the extremes."""
    rows = settled([row for row in table if row["distance"] == CLIPPED])
    found = [stands_apart(row["pool"], row) for row in rows]
    for space, label in dict.fromkeys((row["space"], row["label"]) for row in rows):
        of = [row for row in rows if (row["space"], row["label"]) == (space, label)]
        known = sorted((r for r in of if r["silhouette"]), key=lambda r: float(r["silhouette"]))
        if len(known) > 1:
            found.append(_extremes(space, label, known[0], known[-1]))
    return found


def _extremes(space: str, label: str, least: Row, most: Row) -> str:
    """Which pools stand apart most and least, and how sure that is."""
    low, high = (number(float(row["silhouette"]), DIGITS) for row in (least, most))
    if low == high:
        return f"By {space_name(space)}, the {label}s of all pools stand apart alike ({high})."
    text = (f"By {space_name(space)}, the {label}s of `{most['pool']}` stand apart most ({high}), "
            f"those of `{least['pool']}` least ({low})")  # fmt: skip
    ends = [(optional(row.get("low")), optional(row.get("high"))) for row in (least, most)]
    (a, b), (c, d) = ends
    if a is None or b is None or c is None or d is None:
        return f"{text}."
    if overlap((a, b), (c, d)):
        return f"{text}, but their intervals overlap: the order is uncertain."
    return f"{text}; their intervals do not overlap."


def spaces_findings(table: Sequence[Row]) -> list[str]:
    """Findings of the family of delta activations: spaces, layers, numbers of probes."""
    found = []
    rows = settled(table)
    for pool in dict.fromkeys(row["pool"] for row in rows):
        own = [row for row in rows if row["pool"] == pool]
        spaces = [row for row in own if row["curve"] == "space"]
        spaces.sort(key=lambda row: -(optional(row["silhouette"]) or float("-inf")))
        found += [stands_apart(pool, row) for row in spaces]
        for curve in ("layer", "probes"):
            points = [row for row in own if row["curve"] == curve and row["silhouette"]]
            found += _curve(pool, curve, sorted(points, key=lambda row: int(row["value"])))
    return found


def _curve(pool: str, curve: str, points: Sequence[Row]) -> list[str]:
    if not points:
        return []
    values = {int(row["value"]): number(float(row["silhouette"]), DIGITS) for row in points}
    last = max(values)
    if curve == "probes":
        return [f"In `{pool}`, delta activations have a silhouette of {values[min(values)]} with "
                f"{counted(min(values), 'probe')} and of {values[last]} with {last}."]  # fmt: skip
    best = int(max(points, key=lambda row: float(row["silhouette"]))["value"])
    if best == last:
        return [f"In `{pool}`, delta activations part the domains best when they are read at the "
                f"last layer, {last} (silhouette {values[last]})."]  # fmt: skip
    return [f"In `{pool}`, delta activations part the domains best when they are read at layer {best} "
            f"(silhouette {values[best]}); the last, {last}, gives {values[last]}."]  # fmt: skip
