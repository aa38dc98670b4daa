"""Which packages need a package: of what a job imports, only the first step is attested."""

from collections.abc import Set
from functools import cache
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def may_need(imported: Set[str], name: str) -> bool:
    """Whether one of some packages may have another behind it, as those say that are installed here.

    What an extra needs counts: it is imported where it is there. What is not installed here may need, and
    be needed by, anything.

    :param imported, name: canonical names.
    """
    needed = _needed()
    if not imported or name in imported:
        return name in imported
    unknown = name not in needed or not imported <= needed.keys()
    return unknown or bool(imported & _behind(name))


@cache
def _behind(name: str) -> frozenset[str]:
    """Packages that need a package, directly or not."""
    needed = _needed()
    found, queue = set[str](), [name]
    while queue:
        one = queue.pop()
        new = {other for other, needs in needed.items() if one in needs} - found
        found |= new
        queue += new
    return frozenset(found)


@cache
def _needed() -> dict[str, frozenset[str]]:
    """Installed package -> packages that it names."""
    found: dict[str, frozenset[str]] = {}
    for distribution in metadata.distributions():
        name = str(canonicalize_name(distribution.metadata["Name"]))
        found.setdefault(name, frozenset(_names(distribution.requires or ())))
    return found


def _names(requirements: list[str] | tuple[str, ...]) -> list[str]:
    found = []
    for text in requirements:
        try:
            found.append(str(canonicalize_name(Requirement(text).name)))
        except InvalidRequirement:
            continue
    return found
