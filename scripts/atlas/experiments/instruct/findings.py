"""What a table of deltas says: perplexity kept, and answers as the instruct model's."""

from atlas.experiments.checkpoint_findings import ONE_EACH, deltas_findings
from atlas.experiments.wording import Beside, Rows


def findings(table: Rows, beside: Beside) -> list[str]:
    """Findings of instruction deltas: perplexity kept, and answers as the instruct model's."""
    found = deltas_findings(table)
    return [*found, ONE_EACH] if found else []
