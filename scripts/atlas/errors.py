"""The one exception of the library: a sentence for the person who runs the workflow."""

import errno
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


def sentence_of(error: Exception) -> str:
    """What ended a job or a run, in a sentence for its user."""
    if isinstance(error, AtlasError):
        return str(error)
    where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
        return f"the disk is full{where}; make room and give the same command again."
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return (
            f"nothing may be read or written there{where}: {error.strerror}; give this account the right "  # type: ignore[union-attr]
            "to, and give the same command again."
        )
    return str(AtlasError(f"{type(error).__name__}: {error}"))


def _told(sentence: str) -> str:
    line = re.sub(r"\s*[\r\n]\s*", " ", without_secrets(sentence))
    return printable(line if len(line) <= LONGEST else f"{line[:LONGEST]}…")
