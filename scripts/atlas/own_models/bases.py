"""Which base a model was trained from, as an entry of the configuration."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import typed_path
from atlas.grammar import is_valid_name
from atlas.networks.architectures import blank, configuration
from atlas.own_models.found import FoundModel, texts, unused
from atlas.plan.resolved import Plan
from atlas.plan.sheets import sheet_source
from atlas.references import known
from atlas.sources.fetched_models import Place, told_as
from atlas.weights.base_names import QUANTISED, copied, is_name, recorded_name, same_model
from atlas.weights.weight_files import PART, named_weights


@dataclass
class Bases:
    """Bases of the models of a user: those of a configuration, and those that are new.

    :param asked: the base that the user names for all models: a name, a folder or a repository.
    :param new: name -> entry of the configuration that does not have it yet.
    """

    plan: Plan
    cache: Path
    asked: str | None = None
    new: dict[str, dict[str, Any]] = field(default_factory=dict)
    aliases: dict[str, list[str]] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)  # what is recorded -> name of the base

    def of(self, model: FoundModel) -> str:
        """Name of the base of a model.

        :raises AtlasError: where it records none that can be had.
        """
        recorded = list(_recorded(model))
        if self.asked:
            name = self._named(self.asked)
            self._call(name, recorded)
            return name
        for text in recorded:
            if text in self._known:
                return self._known[text]
            if name := self._have(text) or self._new(text):
                self._known[text] = name
                return name
        told = (
            f"records the base {recorded[0]!r}, which is nowhere" if recorded else "records no base"
        )
        quantised = [text for text in recorded if is_name(text) and QUANTISED.search(text.lower())]
        if quantised:
            told = f"records the base {quantised[0]}, whose weights are quantised"
        raise AtlasError(
            f"{model.where}: {told}; name the one that it was trained from: --base, and a name of "
            "the configuration, a folder, or org/name of a hub."
        )

    def billions(self, name: str) -> float | None:
        """Parameters of a base in billions, where they are known."""
        return (
            self.new[name]["billions"] if name in self.new else self.plan.pretrained(name).billions
        )

    def _named(self, asked: str) -> str:
        """The base that the user names."""
        if asked in self.plan.config.bases:
            return asked
        if not typed_path(asked).is_dir() and not re.fullmatch(r"[\w.-]+/[\w.-]+", asked):
            known(asked, self.plan.config.bases, "--base", "base")
        if asked not in self._known:
            self._known[asked] = self._have(asked) or self._add(asked)
        return self._known[asked]

    def _have(self, recorded: str) -> str | None:
        """A base of the configuration, or a new one, that is known by a name."""
        name = recorded_name(recorded)
        for base in (*self.plan.config.bases, *self.new):
            names = self._names(base)
            if name in names or (is_name(name) and same_model(name, names)):
                return base
        return None

    def _names(self, base: str) -> list[str]:
        """Names under which models may record a base."""
        aliases = self.aliases.get(base, [])
        if base not in self.new:
            return [*self.plan.base_names(base), *aliases]
        repo = self.new[base]["source"].get("hub", {}).get("repo")
        return [base, *filter(None, [repo]), *aliases]

    def _new(self, recorded: str) -> str | None:
        """A base that is in a folder, or in a repository that is not of quantised weights."""
        folder = typed_path(recorded)
        if (folder / "config.json").is_file():
            clear = folder.is_absolute() or recorded.startswith(".")
            return self._add(recorded if clear else f"./{recorded}")
        name = recorded_name(recorded)
        if is_name(name) and not QUANTISED.search(name.lower()):
            return self._add(name)
        return None

    def _add(self, text: str) -> str:
        """Add an entry, from a folder or a repository of a hub.

        :raises AtlasError: where it cannot be reached, or is no model.
        """
        source = sheet_source(text, "", Path(), "--base").model_dump(exclude_none=True)
        place = Place(source, self.cache)
        cached = recorded_name(text) if recorded_name(text) != text else None
        last = cached or (typed_path(text).resolve().name if "local" in source else place.repo)
        name = re.sub(r"[^A-Za-z0-9._+-]+", "-", last.replace("/", "--")).strip("-.+")
        if not is_valid_name(name):
            name = "base"
        name = unused(name, {*self.plan.config.bases, *self.new})
        self.new[name] = {"source": _short(source), **_measured(place, source)}
        if cached:
            self._call(name, [cached])
        return name

    def _call(self, name: str, recorded: Iterable[str]) -> None:
        """The user says that a base is the one that adapters record under other names."""
        entry = self.plan.config.bases.get(name)
        aliases = self.aliases.setdefault(name, list(entry.aliases) if entry else [])
        for text in map(recorded_name, recorded):
            if is_name(text) and not same_model(text, self._names(name)):
                aliases.append(text)

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the configuration must say of bases: the new ones, and what others are called."""
        found = dict(self.new)
        for name, aliases in self.aliases.items():
            entry = self.plan.config.bases.get(name)
            if aliases != (entry.aliases if entry else []):
                found[name] = {**found.get(name, {}), "aliases": aliases}
        return found


def turn(model: FoundModel) -> int:
    """When to ask for the base of a model: copies of bases come after these, and are known as theirs."""
    names = filter(is_name, map(recorded_name, _recorded(model)))
    return copied(next(names, ""))


def _recorded(model: FoundModel) -> Iterator[str]:
    """What a model says of its base, most reliable first."""
    own = texts(model.settings.get("base_model_name_or_path" if model.adapter else "_name_or_path"))
    card = texts(model.card.get("base_model") or model.card.get("base_model_path"))
    # config.json of a full model names the folder that it was loaded from last, often its own.
    yield from dict.fromkeys([*own, *card] if model.adapter else [*card, *own])


def _short(source: Mapping[str, Any]) -> dict[str, Any]:
    """A source as people write it."""
    if "hub" in source:
        return {
            "hub": {k: v for k, v in source["hub"].items() if (k, v) != ("revision", "main") and v}
        }
    return dict(source)


def _measured(place: Place, source: Mapping[str, Any]) -> dict[str, Any]:
    """Precision, number of weight files and size of a base, from its config.json and its list of files."""
    present = place.names()
    if not any(name.endswith(".safetensors") and "/" not in name for name in present):
        named_weights(present, place.where)  # says what is there instead
    parts = [int(found[1]) for name in present if (found := PART.fullmatch(name))]
    with (
        tempfile.TemporaryDirectory() as scratch,
        told_as(source, folder := Path(scratch) / "base"),
    ):
        place.bring(["config.json"], folder)
        stored = str(getattr(configuration(folder), "dtype", None)).removeprefix("torch.")
        size = sum(parameter.numel() for parameter in blank(folder).parameters())
    # float16 has numbers that overflow where bfloat16 and float32 do not: it is read as float32.
    dtype = stored if stored == "bfloat16" else "float32"
    return {"dtype": dtype, "shards": max(parts, default=1), "billions": float(f"{size / 1e9:.4g}")}
