"""What the table of additivity says: whether a mixture is closest to the sum of its parts."""

from statistics import fmean

from atlas.experiments.marks import QUANTITIES
from atlas.experiments.repetitions import settled
from atlas.experiments.wording import Beside, Rows, counted, listed, number

*PARTS, SUM = QUANTITIES


def findings(table: Rows, beside: Beside) -> list[str]:
    """Findings of additivity: whether a mixture is closest to the sum of its parts."""
    rows = settled(table)
    closest = [float(row[SUM]) >= max(float(row[part]) for part in PARTS) for row in rows]
    sums = fmean(float(row[SUM]) for row in rows)
    nearer = fmean(max(float(row[part]) for part in PARTS) for row in rows)
    found = [
        f"A model of a mixture is closer to the sum of the models of its parts than to either of "
        f"them in {sum(closest)} of {counted(len(rows), 'pair')} of domains; its mean cosine is "
        f"{number(sums)} with the sum and {number(nearer)} with the nearer part."
    ]
    failing = [f"{row['first']} with {row['second']}"
               for row, yes in zip(rows, closest, strict=True) if not yes]  # fmt: skip
    if failing:
        found.append(f"It is not so for {listed(failing)}.")
    known = [(row, yes) for row, yes in zip(rows, closest, strict=True) if row[f"published_{SUM}"]]
    if known:
        theirs = [float(row[f"published_{SUM}"]) >= max(float(row[f"published_{part}"]) for part in PARTS)
                  for row, _ in known]  # fmt: skip
        found.append(f"Of the {counted(len(known), 'pair')} that the paper has, the sum is closest in "
                     f"{sum(yes for _, yes in known)} here and in {sum(theirs)} there.")  # fmt: skip
    return found
