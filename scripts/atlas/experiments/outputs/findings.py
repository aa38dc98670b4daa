"""What there is to read of outputs; nothing is claimed about them."""

from atlas.experiments.wording import Beside, Rows, counted


def findings(table: Rows, beside: Beside) -> list[str]:
    """What there is to read of outputs; nothing is claimed about them."""
    models = {(row["pool"], row["model"]) for row in table}
    texts = [row["text"] for row in table]
    return [f"{counted(len(models), 'model')} wrote {counted(len(texts), 'text')} to the probes, "
            f"{len(set(texts)):,} of them different from one another."]  # fmt: skip
