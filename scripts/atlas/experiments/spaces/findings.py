"""What the table of the family says: spaces, layers, numbers of probes."""

from atlas.experiments.marks import LAYER, PROBES, SPACE
from atlas.experiments.repetitions import settled
from atlas.experiments.silhouette_findings import DIGITS, stands_apart
from atlas.experiments.wording import Beside, Rows, counted, number, optional


def findings(table: Rows, beside: Beside) -> list[str]:
    """Findings of the family of delta activations: spaces, layers, numbers of probes."""
    found = []
    rows = settled(table)
    for pool in dict.fromkeys(row["pool"] for row in rows):
        own = [row for row in rows if row["pool"] == pool]
        spaces = [row for row in own if row["curve"] == SPACE]
        spaces.sort(key=lambda row: -(optional(row["silhouette"]) or float("-inf")))
        found += [stands_apart(pool, row) for row in spaces]
        for curve in (LAYER, PROBES):
            points = [row for row in own if row["curve"] == curve and row["silhouette"]]
            found += _curve(pool, curve, sorted(points, key=lambda row: int(row["value"])))
    return found


def _curve(pool: str, curve: str, points: Rows) -> list[str]:
    if not points:
        return []
    values = {int(row["value"]): number(float(row["silhouette"]), DIGITS) for row in points}
    last = max(values)
    if curve == PROBES:
        return [f"In `{pool}`, delta activations have a silhouette of {values[min(values)]} with "
                f"{counted(min(values), 'probe')} and of {values[last]} with {last}."]  # fmt: skip
    best = int(max(points, key=lambda row: float(row["silhouette"]))["value"])
    if best == last:
        return [f"In `{pool}`, delta activations part the domains best when they are read at the "
                f"last layer, {last} (silhouette {values[last]})."]  # fmt: skip
    return [f"In `{pool}`, delta activations part the domains best when they are read at layer {best} "
            f"(silhouette {values[best]}); the last, {last}, gives {values[last]}."]  # fmt: skip
