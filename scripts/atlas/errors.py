"""The one exception of the library: a sentence for the person who runs the workflow."""

import re

from atlas.printable import printable


class AtlasError(Exception):
    """Something a user can mend: the message says what, where, and what would be right.

    What it quotes may be a stranger's: each sentence stands on one line, and control characters in
    it are shown, not obeyed.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(printable(re.sub(r"\s*[\r\n]\s*", " ", s)) for s in sentences))
