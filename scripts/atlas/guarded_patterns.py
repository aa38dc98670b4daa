"""The one place where a stranger's regular expressions are tried: for so long, and no longer."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from atlas.errors import AtlasError
from atlas.limits import LimitError, bounded

SECONDS = 5.0  # of the processor, for what is tried at once
Tried = tuple[str, Iterable[str]]  # a pattern, and the names that it is tried on as a whole


def matches(tried: Iterable[Tried], where: str) -> list[set[str]]:
    """For each pattern, the names that it matches as a whole.

    :param where: the file that they stand in, for messages.
    :raises AtlasError: where one is no pattern, or all are not done with in :data:`SECONDS`.
    """
    found: list[set[str]] = []
    pattern = ""
    try:
        with bounded(SECONDS):
            for pattern, names in tried:
                found.append({name for name in names if re.fullmatch(pattern, name)})
    except (re.error, RecursionError, OverflowError, LimitError) as error:
        raise AtlasError(
            f"{where}: the pattern {pattern[:80]!r} cannot be tried ({error}); write out the names "
            "in its place."
        ) from None
    return found


def valued(
    patterns: Mapping[str, Any] | None, names: Iterable[str], default: Any, where: str
) -> dict[str, Any]:
    """Name -> value of the first pattern that it is, or that what follows one of its dots is.

    So PEFT reads rank_pattern and alpha_pattern.

    :raises AtlasError: as :func:`matches` does.
    """
    names = list(names)
    wholes = [(ending(pattern), names) for pattern in patterns or {}]
    found = dict.fromkeys(names, default)
    # Of several, the first counts.
    for value, matched in reversed(
        list(zip((patterns or {}).values(), matches(wholes, where), strict=True))
    ):
        found |= dict.fromkeys(matched, value)
    return found


def ending(pattern: str) -> str:
    """The pattern of names that end in one, at a dot."""
    return rf"(.*\.)?({pattern})"
