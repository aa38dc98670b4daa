"""Functions of Snakemake that have one of ours in their place, each where it stands for this workflow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put a function in the place of another; of the same one however often this is called.

    :param owner: a module or a class of Snakemake.
    :param make: makes the new function of Snakemake's own.
    """
    found = getattr(owner, name)
    own = getattr(found, "replaces", found)
    made = make(own)
    made.replaces = own
    setattr(owner, name, made)


def leave_locks_of_others() -> None:
    """Let a run that ends remove its own locks only, for others may go on in its folder.

    Snakemake removes all of them, as ``--unlock`` still does.
    """
    from snakemake.persistence.file import FilePersistence

    replace(FilePersistence, "_delete_locks", _own_only)
    of_all = FilePersistence._delete_locks.replaces  # type: ignore[attr-defined]
    replace(FilePersistence, "cleanup_locks", lambda _: lambda self: of_all(self))


def _own_only(_: Any) -> Any:
    def delete(self: Any) -> None:
        for file in self._lockfile.values():
            Path(file).unlink(missing_ok=True)
        self._lockfile.clear()

    return delete
