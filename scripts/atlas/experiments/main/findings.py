"""What the main table says: whether the domains of each pool stand apart, by which space most."""

from atlas.experiments.marks import AVERAGE
from atlas.experiments.silhouette_findings import CLIPPED, DIGITS, stands_apart
from atlas.experiments.wording import (
    Beside,
    Rows,
    against,
    counted,
    listed,
    number,
    optional,
    overlap,
    space_name,
)


def findings(table: Rows, beside: Beside) -> list[str]:
    """Findings of a main table, pool by pool, then of their average.

    :param beside: POOL/silhouette.csv, for intervals and reasons, and POOL/neighbours.csv.
    """
    found = []
    clipped = [row for row in table if row["distance"] == CLIPPED]
    pools = [pool for pool in dict.fromkeys(row["pool"] for row in clipped) if pool != AVERAGE]
    for pool in pools:
        sure = {row["space"]: row for row in beside[f"{pool}/silhouette.csv"]
                if (row["distance"], row["label"]) == (CLIPPED, "domain")}  # fmt: skip
        rows = [{**sure[row["space"]], **row} for row in clipped if row["pool"] == pool]
        rows.sort(key=lambda row: -(optional(row["silhouette"]) or float("-inf")))
        found += [stands_apart(pool, row) for row in rows]
        found += _order(pool, [row for row in rows if row["silhouette"]])
        found += _published_order(pool, rows)
        found += _nearest(pool, beside[f"{pool}/neighbours.csv"])
    mean = [row for row in clipped if row["pool"] == AVERAGE and row["silhouette"]]
    if len(pools) > 1 and mean:
        mean.sort(key=lambda row: -float(row["silhouette"]))
        figures = [f"{space_name(row['space'])} {number(float(row['silhouette']), DIGITS)}"
                   + against(float(row["silhouette"]), optional(row["published"]), DIGITS).replace("; ", ", ")
                   for row in mean]  # fmt: skip
        found.append(f"Mean silhouettes over {counted(len(pools), 'pool')}: {'; '.join(figures)}.")
    return found


def _order(pool: str, rows: Rows) -> list[str]:
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


def _published_order(pool: str, rows: Rows) -> list[str]:
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


def _nearest(pool: str, neighbours: Rows) -> list[str]:
    """How often the nearest neighbour has the model's domain, space by space."""
    first = [row for row in neighbours if row["rank"] == "1"]
    if not first:
        return []
    parts = []
    for space in dict.fromkeys(row["space"] for row in first):
        own = [row["neighbour_domain"] == row["domain"] for row in first if row["space"] == space]
        parts.append(f"{sum(own)} of {len(own)} by {space_name(space)}")
    return [f"The nearest neighbour of a model of `{pool}` has its domain for {listed(parts)}."]
