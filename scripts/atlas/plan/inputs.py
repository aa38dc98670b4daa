"""Names and files that rules are made of: constraints of wildcards, files of a user's own."""

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from atlas.files import typed_path
from atlas.plan.resolved import Plan, PlannedModel

# More names than these are not spelt out where they are most of their kind.
MANY_NAMES = 100
# What is read of a folder that somebody's library saved a model to.
MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja")


def constraint(names: Iterable[str], among: Collection[str] = ()) -> str:
    """A regular expression for exactly these names, as the constraint of a wildcard.

    Snakemake reads a constraint anew for every job: where thousands of names are most of those
    that there are among some, it is any name but the others.
    """
    chosen = set(names)
    others = set(among) - chosen
    if len(others) < len(chosen) > MANY_NAMES and among:
        but = rf"(?!(?:{'|'.join(map(re.escape, sorted(others)))})/)" if others else ""
        return but + r"[A-Za-z0-9._+-]+"
    return "|".join(re.escape(name) for name in sorted(chosen)) or "(?!)"


def local_files(folder: str | None, names: Iterable[str] = ("",)) -> list[str]:
    """Files of a user's own folder (or one file), so that a change in them is seen."""
    if not folder:
        return []
    files = (Path(os.path.normpath(typed_path(folder))) / name for name in names)
    return [str(file) for file in files if file.is_file()]


def local_model(folder: str | None) -> list[str]:
    """Files of a model or a base in a user's own folder."""
    if not folder:
        return []
    found = typed_path(folder)
    names = (file.name for pattern in MODEL_FILES for file in found.glob(pattern))
    return local_files(folder, sorted(names))


def local_models(models: Iterable[PlannedModel]) -> list[str]:
    """Files of fetched models that come from folders of the user's own."""
    folders = ((model.source or {}).get("local") for model in models)
    return sorted({file for folder in folders for file in local_model(folder)})


def settings_of_bases(plan: Plan, bases: Iterable[str]) -> list[str]:
    """Of the files of bases, all but the weights: what says which models are theirs."""
    files = [file for base in sorted(bases) for file in plan.base_files(base)]
    return [file for file in files if ".safetensors" not in file]
