"""Uploads that cannot be made are refused before anything is."""

from __future__ import annotations

from collections.abc import Iterable

from atlas.configuration.config import Config
from atlas.errors import AtlasError
from atlas.references import known


def check_pushes(config: Config, models: Iterable[str], merged: Iterable[str]) -> None:
    """Refuse uploads of what does not exist, and two different ones into one repository.

    :param models, merged: names of models and merged models.
    :raises AtlasError: naming the upload.
    """
    things = {"deltas": config.deltas, "merged": merged, "models": models}
    what = {"deltas": "delta", "merged": "merged model", "models": "model"}
    taken: dict[str, str] = {}
    for name, push in config.pushes.items():
        kind, _, thing = push.path.partition("/")
        known(thing, things[kind], f"pushes.{name}.path", what[kind])
        other = taken.setdefault(push.repo.lower(), name)
        if other != name:
            raise AtlasError(
                f"pushes.{name}.repo: {push.repo} is the repository of {other!r} too; each upload "
                "has one of its own."
            )
