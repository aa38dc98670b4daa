"""Which packages need a package: of what a job imports, only the first step is attested."""

import re
from collections.abc import Set
from functools import cache

from packaging.utils import canonicalize_name

from atlas.job.statements import installed


def may_need(imported: Set[str], name: str) -> bool:
    """Whether one of some packages may have another behind it, as those say that are installed here.

    What an extra needs counts: it is imported where it is there. What is not installed here may need, and
    be needed by, anything.

    :param imported, name: canonical names.
    """
    if not imported or name in imported:
        return name in imported
    needed = _needed()
    unknown = name not in needed or not imported <= needed.keys()
    return unknown or not imported.isdisjoint(_behind(name))


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
    for distribution in installed():
        # Only the head is read: all of it, as the library reads it, takes ten times as long.
        head = (distribution.read_text("METADATA") or "").partition("\n\n")[0]
        if named := re.search(r"^Name: *(.+?) *$", head, re.MULTILINE):
            needs = re.findall(r"^Requires-Dist: *([\w.-]+)", head, re.MULTILINE)
            found.setdefault(str(canonicalize_name(named[1])), frozenset(map(_canonical, needs)))
    return found


def _canonical(name: str) -> str:
    return str(canonicalize_name(name))
