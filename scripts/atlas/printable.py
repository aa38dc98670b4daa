"""What others wrote, as it may be printed: nothing in it moves a cursor or turns a line round."""

import unicodedata

SPACES = "Zs"


def printable(text: str, keep: str = "\n") -> str:
    r"""A text whose control and format characters are shown as ``\x1b``, in place of obeyed.

    :param keep: control characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) or c in keep else _escaped(c) for c in text)


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == SPACES


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
