"""The entry of a table of instruction deltas."""

from typing import ClassVar, Literal

from pydantic import Field

from atlas.experiments.entry import KIND, CheckpointTable


class Table(CheckpointTable):
    """Bases, models, instruct and merged models side by side."""

    drawn: ClassVar[bool] = False

    kind: Literal["instruct"] = Field(description=KIND)
