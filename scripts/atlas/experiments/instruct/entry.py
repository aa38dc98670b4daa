"""The entry of a table of instruction deltas."""

from typing import Literal

from pydantic import Field

from atlas.experiments.entry import KIND, CheckpointTable


class Table(CheckpointTable):
    """Bases, models, instruct and merged models side by side."""

    kind: Literal["instruct"] = Field(description=KIND)
