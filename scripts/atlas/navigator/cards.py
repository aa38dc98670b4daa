"""Cards of a pool without saying the same twenty thousand times.

Cards of a pool differ in a few lines: in its name, which is replaced by a sign, and in lines of their own,
such as digests. What is left is a template that many cards share.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

NAME = "\x00"  # stands for the model's name: no text file has it
HOLE = None  # stands for a line that a card has of its own


def compact(names: Sequence[str], texts: Sequence[str]) -> dict[str, Any]:
    """Templates (lists of lines) and, per model, the number of its template and its own lines."""
    split = [
        text.replace(NAME, "").replace(name, NAME).split("\n")
        for name, text in zip(names, texts, strict=True)
    ]
    seen = Counter(line for lines in split for line in set(lines))
    templates: dict[tuple[str | None, ...], int] = {}
    cards = []
    for lines in split:
        shape = tuple(line if seen[line] > 1 else HOLE for line in lines)
        number = templates.setdefault(shape, len(templates))
        cards.append([number, *(line for line in lines if seen[line] == 1)])
    return {"templates": [list(shape) for shape in templates], "cards": cards}
