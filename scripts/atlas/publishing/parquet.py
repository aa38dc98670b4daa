"""Stored tables as Parquet, for those who read them in programs: columns have types."""

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atlas.errors import AtlasError
from atlas.files import read_csv, sync

# Columns of names and digests, which are text whatever they look like.
TEXT = re.compile(r"model|neighbour|domain|base|pool|table|space|task|name|source|commit|sha256|reason|"
                  r"\w+_(model|domain|name|sha256)")  # fmt: skip
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|-?inf")
TRUTH = {"true": True, "false": False, "True": True, "False": False}
Reader = Callable[[str], Any]


def write_parquet(*, table: Path, parquet: Path) -> None:
    """Write a table as Parquet, the same values in the same order.

    A column is of whole numbers (int64), numbers (float64) or truth values where all of its cells are
    written as such, else of text; empty cells are null.

    :raises AtlasError: where the table has no header.
    """
    rows = read_csv(table)
    with table.open(encoding="utf-8", newline="") as handle:
        columns = next(csv.reader(handle), [])
    if not columns:
        raise AtlasError(f"{table}: has no columns.")
    arrays = {name: _column(name, [row[name] for row in rows]) for name in columns}
    pq.write_table(pa.table(arrays), parquet, compression="zstd")
    sync(parquet)


def _column(name: str, cells: Sequence[str]) -> pa.Array:
    """The values of a column, of the first type that loses nothing."""
    some = [cell for cell in cells if cell]
    kinds: tuple[tuple[Reader, pa.DataType], ...] = (
        (_whole, pa.int64()), (_number, pa.float64()), (TRUTH.__getitem__, pa.bool_()),
    )  # fmt: skip
    for read, kind in kinds if some and not TEXT.fullmatch(name) else ():
        try:
            return pa.array([read(cell) if cell else None for cell in cells], kind)
        except (ValueError, KeyError, OverflowError, pa.ArrowException):
            continue
    return pa.array([cell or None for cell in cells], pa.string())


def _number(cell: str) -> float:
    """A number as it is written in tables: 1_000 is none."""
    if not NUMBER.fullmatch(cell):
        raise ValueError(cell)
    return float(cell)


def _whole(cell: str) -> int:
    """A whole number as it is written: 007 is none."""
    if str(number := int(cell)) != cell:
        raise ValueError(cell)
    return number
