"""Functions of Snakemake that have one of ours in their place, each where it stands for this workflow."""

from collections.abc import Callable
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
