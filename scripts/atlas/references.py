"""Names in a configuration: refused where nothing has them, with the nearest that does."""

import difflib
from collections.abc import Collection

from atlas.errors import AtlasError

SHOWN = 50  # names in a message


def known(name: str, names: Collection[str], where: str, what: str) -> None:
    """Refuse a name that does not exist, with the nearest that does."""
    if name in names:
        return
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    defined = (", ".join(names[:SHOWN]) or "none") + more
    hint = f"did you mean {near[0]!r}?" if near else f"defined are: {defined}."
    raise AtlasError(f"{where}: there is no {what} {name!r}; {hint}")
