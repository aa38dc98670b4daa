"""What a table of silhouettes says: each pool, space and label, then the extremes."""

from atlas.experiments.repetitions import settled
from atlas.experiments.silhouette_findings import CLIPPED, DIGITS, stands_apart
from atlas.experiments.wording import Beside, Row, Rows, number, optional, overlap, space_name


def findings(table: Rows, beside: Beside) -> list[str]:
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
