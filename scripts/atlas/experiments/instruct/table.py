"""The table of instruction deltas: what a delta does to a model."""

from pathlib import Path

from atlas.experiments.checkpoint_rows import COLUMNS, checkpoint_page, checkpoint_rows
from atlas.files import write_bytes, write_csv


def instruct_table(
    *, evaluations: list[Path], entries: list[dict[str, str]], table: Path, page: Path
) -> None:
    """Write what base, instruct model, model and merged model make of the same rows.

    :param evaluations: of every checkpoint (:mod:`atlas.evaluation.checkpoints`).
    :param entries: delta, model, role and checkpoint of each line of the comparison.
    """
    rows = list(checkpoint_rows(evaluations, entries))
    write_csv(table, COLUMNS, rows)
    write_bytes(page, "\n".join(checkpoint_page(rows)).encode())
