"""What is behind the names that a user types: adapters and full models, in folders and on a hub."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from atlas.errors import AtlasError
from atlas.files import read_object, typed_path
from atlas.plan.sheets import sheet_source
from atlas.sources.fetched_models import ADAPTER, SETTINGS, Place, refuse_other, told_as
from atlas.sources.hub import UnreachableError
from atlas.weights.adapter_settings import read_settings
from atlas.weights.base_names import FOLDERS
from atlas.weights.other_formats import gguf_hint
from atlas.weights.weight_files import folders_of_weights

CARD = "README.md"
CARD_HEAD = 65_536  # characters of a card in which its head is looked for
# Folders whose names say nothing of the model in them.
PASSING = re.compile(r"checkpoint-\d+|adapters?|best|last|latest|lora|peft|default|tmp\w*|\d+")


@dataclass(frozen=True)
class FoundModel:
    """A model as it was found.

    :param source: as a sheet has it: a folder, or ``org/name`` with ``@revision``.
    :param settings: its adapter_config.json, or config.json of a full model.
    :param card: what stands at the head of its card; empty where it has none that can be read.
    :param parent: name of the folder that its folder is in; empty on a hub.
    """

    source: str
    subfolder: str
    name: str
    adapter: bool
    settings: Mapping[str, Any]
    card: Mapping[str, Any]
    author: str = ""
    parent: str = ""

    @property
    def where(self) -> str:
        """Where it is, in a sentence."""
        return "/".join(filter(None, (self.source, self.subfolder)))


def find_models(typed: Sequence[str], cache: Path) -> list[FoundModel]:
    """All models of what was typed, in that order; a folder of models stands for each of them.

    :raises AtlasError: with the reasons of all that cannot be read; where one model is named twice.
    """
    for text in typed:
        if not text.isprintable() or text != text.strip() or not text:
            raise AtlasError(f"{text!r}: a sheet cannot hold such a name; rename the folder.")
    found: list[FoundModel] = []
    faults: list[str] = []
    for text in typed:
        places: list[tuple[str, Mapping[str, Any]]] = []
        with _told_later(faults):
            places = _at(text, cache)
        for subfolder, source in places:
            with _told_later(faults):
                found.append(_read(text, subfolder, source, cache))
    if faults:
        raise AtlasError(*faults)
    seen: set[str] = set()
    for model in found:
        if model.where in seen:
            raise AtlasError(f"{model.where}: is named twice; name each model once.")
        seen.add(model.where)
    return _named_apart(found)


@contextlib.contextmanager
def _told_later(faults: list[str]) -> Iterator[None]:
    """Within this context, a model that cannot be read is one of the faults; an unreachable hub is not."""
    try:
        yield
    except UnreachableError:
        raise
    except AtlasError as error:
        faults.append(str(error))


def _at(text: str, cache: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Where the models of what was typed are: the folder in it, and the source."""
    if (file := typed_path(text)).is_file():
        hint = gguf_hint([file.name]) or f"name the folder that holds {ADAPTER[0]}"
        raise AtlasError(f"{text}: is a file; {hint}.")
    source = sheet_source(text, "", Path(), "map_models.py").model_dump(exclude_none=True)
    place = Place(source, cache)
    present = place.names()
    if {ADAPTER[0], SETTINGS[0]} & set(present):
        return [("", source)]
    if "local" in source:
        below = _below(place.folder)
    else:
        end = f"/{ADAPTER[0]}"
        below = [name.removesuffix(end) for name in present if name.endswith(end)]
        below = below or folders_of_weights(present)
    inside = [(folder, sheet_source(text, folder, Path(), "map_models.py")) for folder in below]
    found = [(folder, model.model_dump(exclude_none=True)) for folder, model in inside]
    return found or [("", source)]


def _below(folder: Path) -> list[str]:
    """Names of the folders in a folder that hold a model, sorted."""
    try:
        return [child.name for child in sorted(folder.iterdir()) if child.is_dir()
                and any((child / name).is_file() for name in (ADAPTER[0], SETTINGS[0]))]  # fmt: skip
    except OSError as error:
        raise AtlasError(f"{folder}: cannot be read ({error.strerror}).") from None


def _read(text: str, subfolder: str, source: Mapping[str, Any], cache: Path) -> FoundModel:
    place = Place(source, cache)
    present = place.names()
    adapter = ADAPTER[0] in present
    if adapter or SETTINGS[0] not in present:
        refuse_other(place)
    with tempfile.TemporaryDirectory() as scratch, told_as(source, folder := Path(scratch) / "m"):
        first = ADAPTER[0] if adapter else SETTINGS[0]
        place.bring([first, *([CARD] if CARD in present else [])], folder)
        settings = (read_settings if adapter else read_object)(folder / first)
        card = _head(folder / CARD) if CARD in present else {}
    if hub := source.get("hub"):
        author, name = hub["repo"].rpartition("/")[::2]
        path = [author, name, *subfolder.split("/")]
        return FoundModel(text, subfolder, _name(path), adapter, settings, card, author)
    here = place.folder.resolve()
    own = [here.name]
    while PASSING.fullmatch(own[0].lower()) or own[0].lower() in FOLDERS:
        if not here.parent.name:
            break
        here = here.parent
        own.insert(0, here.name)
    return FoundModel(text, subfolder, _name(own), adapter, settings, card,
                      parent=here.parent.name)  # fmt: skip


def _name(parts: Sequence[str]) -> str:
    """A name of the configuration from the parts of a path."""
    text = "--".join(re.sub(r"[^A-Za-z0-9._+-]+", "-", part).strip("-.+") for part in parts if part)
    return text or "model"


def _named_apart(found: Sequence[FoundModel]) -> list[FoundModel]:
    """Models of one name are numbered, the first keeps it."""
    taken: set[str] = set()
    named = []
    for model in found:
        name = unused(model.name, taken)
        taken.add(name)
        named.append(FoundModel(**{**vars(model), "name": name}))
    return named


def unused(name: str, taken: Collection[str]) -> str:
    """The name, or the first with a number behind it that is free."""
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _head(file: Path) -> dict[str, Any]:
    """What stands between the first two lines of ``---``, all of it texts: a card only helps to guess.

    Merges of YAML are not followed: a few lines of them stand for more than fits into memory.
    """
    text = file.read_bytes()[:CARD_HEAD].decode("utf-8", "replace")
    head = re.match(r"\ufeff?---\r?\n(.*?)^---\s*$", text, re.DOTALL | re.MULTILINE)
    try:
        found = yaml.load(head[1], yaml.CBaseLoader) if head else {}
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def texts(value: Any) -> list[str]:
    """The texts of a key of a card, which may be one or a list."""
    values = value if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str) and text]
