"""What an earlier execution of a job made of models that are as they were."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kept:
    """Models of a job that need not be computed again.

    :param models: their names -> their bases; neither has changed since.
    :param files: name of an output -> the file that the earlier execution made, whole.
    :param gone: path -> SHA-256 and bytes of what that execution made and deleted itself.
    """

    models: dict[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    gone: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def without(self, names: Collection[str]) -> Kept:
        """The same without some models."""
        models = {name: base for name, base in self.models.items() if name not in names}
        gone = {path: told for path, told in self.gone.items() if Path(path).parent.name in models}
        return replace(self, models=models, gone=gone)

    def drop(self) -> None:
        """Compute everything again: what was made then is of no use now."""
        self.models.clear()

    def others(self, models: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of models by `name`, those that have to be computed."""
        return [model for model in models if model["name"] not in self.models]

    def groups(self) -> dict[str, set[str]]:
        """Their names (models) and those of their bases (bases), by group of the files that hold both."""
        return {"bases": set(self.models.values()), "models": set(self.models)}


NOTHING = Kept()
