"""The one exception of the library: a sentence for the person who runs the workflow."""

import re

from atlas.printable import printable
from atlas.redaction import without_secrets

LONGEST = 100_000  # characters of a sentence


class AtlasError(Exception):
    """Something a user can mend: the message says what, where, and what would be right.

    What it quotes may be a stranger's: each sentence stands on one line of bounded length, control
    characters in it are shown, not obeyed, and a token that a server sent back is not in it.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(map(_told, sentences)))


def _told(sentence: str) -> str:
    line = re.sub(r"\s*[\r\n]\s*", " ", without_secrets(sentence))
    return printable(line if len(line) <= LONGEST else f"{line[:LONGEST]}…")
