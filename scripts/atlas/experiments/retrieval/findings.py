"""What the table of retrieval says: how often the nearest model has the domain of the examples."""

from atlas.experiments.marks import ACCURACY, MEAN
from atlas.experiments.repetitions import settled
from atlas.experiments.wording import Beside, Rows, against, counted, optional, percent


def findings(table: Rows, beside: Beside) -> list[str]:
    """Findings of retrieval: how often the nearest model has the domain of a few examples."""
    found = []
    for row in settled([row for row in table if row["query"] == ACCURACY]):
        queries = [r for r in table if r["query"] != ACCURACY and r["pool"] == row["pool"]]
        value = float(row["accuracy"])
        over = ", mean over seeds" if row["seed"] == MEAN else ""
        ranks = [int(r["rank"]) for r in queries]
        found.append(
            f"In `{row['pool']}`, the nearest model has the domain of the examples for "
            f"{percent(value)} of {counted(len(queries), 'query', 'queries')}{over}"
            f"{against(value, optional(row['published']))}; the first model of the domain stands at "
            f"rank {max(ranks)} at the latest."
        )
    return found
