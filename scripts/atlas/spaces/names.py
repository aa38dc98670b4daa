"""Which embedding spaces there are: the files of this room that have a function ``embed``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

ROOM = Path(__file__).parent


def space_names() -> tuple[str, ...]:
    """Names of all spaces, in alphabetical order; none of their modules is imported."""
    found = sorted(ROOM.glob("*.py"))
    return tuple(
        file.stem for file in found
        if re.search(r"^def embed\(", file.read_text(encoding="utf-8"), re.MULTILINE)
    )  # fmt: skip


def space_title(space: str) -> str:
    """A space as tables and figures show it, for instance `Delta activations`."""
    return space.replace("_", " ").capitalize()


if TYPE_CHECKING:
    Space = str
else:
    Space = Literal[space_names()]
