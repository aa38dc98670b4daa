"""What somebody asks about: the words of a command as a thing that statements know."""

import fnmatch
import re
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import parse_jsonl, read_bounded
from atlas.guarded_patterns import matches
from atlas.job.closures import is_outside
from atlas.job.statements import RESULTS, is_artefact
from atlas.job.withdrawn.rows import dumped, raw_file, row_digests
from atlas.job.withdrawn.things import (
    ANY,
    ATTEMPT,
    FILES,
    HOST,
    MODULE,
    PACKAGE,
    ROWS,
    Thing,
    installed,
    package,
)  # fmt: skip
from atlas.lineage.forward.index import AtHand
from atlas.references import known

# Kind of a name -> where below results/ the files of such a thing are; {} is its name.
PLACES: dict[str, tuple[str, ...]] = {
    "model": ("models/{}/", "merged/{}/"),
    "dataset": ("sources/datasets/{}.jsonl", "sources/datasets/{}.json"),
    "base": ("sources/bases/{}/",), "encoder": ("sources/encoders/{}/",),
    "delta": ("deltas/{}/",), "pool": ("pools/{}/",), "table": ("tables/{}.",),
}  # fmt: skip
KINDS = ("row", "file", "digest", *PLACES, "package", "module", "attempt", "host")
WHOLE = ("dataset",)  # meant whatever its bytes are; of all others, the bytes that are there


def asked(what: str, records: AtHand) -> Thing:
    """The thing that some words mean, all of which may begin with one of :data:`KINDS` and a colon.

    ``NAME:17``, ``NAME:3-9,17`` and ``NAME:/pattern/`` are rows of a dataset, by their ids or where the
    pattern is found in the row as JSON; ``trl<1.16`` is a package; names may be globs.

    :raises AtlasError: where nothing is meant by them, or several things are.
    """
    kind, _, rest = what.partition(":")
    kinds = _Kinds(what, records)
    if kind in KINDS and rest:
        if found := kinds.of(kind, rest):
            return found
        raise AtlasError(f"{what}: no statement knows such a {kind}.{kinds.nearest(kind, rest)}")
    found_as = {k: thing for k in KINDS if (thing := kinds.of(k, what))}
    if "file" in found_as or "row" in found_as:
        found_as = {k: v for k, v in found_as.items() if k in ("file", "row")}
    if len(found_as) > 1:
        several = " or ".join(f"{k}:{what}" for k in found_as)
        raise AtlasError(f"{what}: may be several things; say which: {several}.")
    if not found_as:
        raise AtlasError(
            f"{what}: no statement knows it; give rows of a dataset (gsm8k:17), a file, a SHA-256, a "
            "model, a dataset, a package (trl<1.16), a module, an attempt or a host."
        )
    return next(iter(found_as.values()))


class _Kinds:
    """Words as each kind of thing; None where they are none of that kind."""

    def __init__(self, what: str, records: AtHand) -> None:
        self.what = what
        self.records = records
        self.statements = records.every
        self.thing = partial(Thing, what)

    def of(self, kind: str, text: str) -> Thing | None:
        """Words as a thing of a kind."""
        if kind in PLACES:
            return self._named(kind, text)
        asks: dict[str, Callable[[str], Thing | None]] = {
            "row": self._rows, "file": self._file, "digest": self._digest,
            "package": self._package, "module": self._module, "attempt": self._attempt,
            "host": self._host,
        }  # fmt: skip
        return asks[kind](text)

    def nearest(self, kind: str, text: str) -> str:
        """Which name of a kind is nearest to one that is none, in a sentence."""
        names = sorted(self._named_files[kind]) if kind in PLACES else []
        try:
            known(text, names, self.what, kind) if names else None
        except AtlasError as error:
            return " " + str(error).partition("; ")[2].capitalize()
        return ""

    @cached_property
    def _named_files(self) -> dict[str, dict[str, set[str]]]:
        """Kind -> name -> paths of its files."""
        found: dict[str, dict[str, set[str]]] = {kind: defaultdict(set) for kind in PLACES}
        heads = [
            (f"{RESULTS}/{place}".split("{}"), kind) for kind in PLACES for place in PLACES[kind]
        ]
        for path in {path for made in self.statements for path in made.outputs}:
            for (head, tail), kind in heads:
                if path.startswith(head):
                    name, there, _ = path[len(head) :].partition(tail)
                    if there and "/" not in name:
                        found[kind][name].add(path)
        return found

    def _named(self, kind: str, text: str) -> Thing | None:
        named = self._named_files[kind]
        paths = sorted({path for name in fnmatch.filter(named, text) for path in named[name]})
        files = {path: [ANY] if kind in WHOLE else self._now(path) for path in paths}
        known_files = {path: digests for path, digests in files.items() if digests}
        return self.thing(FILES, known_files) if known_files else None

    def _now(self, path: str) -> list[str]:
        """SHA-256 of a file as its newest statement says; of one from outside, all that were read."""
        if is_artefact(path):
            made = self.records.statement(path)
            return [made.outputs[path]] if made else []
        return sorted({made.inputs[path] for made in self.statements if path in made.inputs})

    def _file(self, text: str) -> Thing | None:
        path = self.records.name(text)
        if digests := self._now(path):
            return self.thing(FILES, {path: digests})
        place = Path(text)
        return self._digest(sha256_file(place)) if place.is_file() else None

    def _digest(self, text: str) -> Thing | None:
        start = text.removeprefix("sha256:").lower()
        if not re.fullmatch(r"[0-9a-f]{8,64}", start):
            return None
        found = {d for made in self.statements for d in (*made.outputs.values(), *made.inputs.values())
                 if d.startswith(start)}  # fmt: skip
        if len(found) > 1:
            raise AtlasError(
                f"{text}: {len(found)} files begin with this SHA-256; give more of it."
            )
        return self.thing(FILES, {ANY: sorted(found)}) if found else None

    def _rows(self, text: str) -> Thing | None:
        dataset, colon, which = text.partition(":")
        path = raw_file(dataset)
        if not colon or not which or not any(path in made.outputs for made in self.statements):
            return None
        made, place = self.records.statement(path), self.records.path(path)
        if made is None or not place.is_file():
            raise AtlasError(f"{path}: is not here, so that its rows cannot be read.")
        digests = row_digests(place)
        wanted = _matching(place, which, text) if which.startswith("/") else _listed(which, text)
        if not wanted or not wanted <= set(range(len(digests))):
            raise AtlasError(
                f"{text}: {dataset} has the rows 0 to {len(digests) - 1}; give ids as 17 or 3-9,17, or a "
                "pattern of theirs as /word/."
            )
        rows = {str(i): digests[i] for i in sorted(wanted)}
        return self.thing(ROWS, {path: [made.outputs[path]]}, rows)

    def _package(self, text: str) -> Thing | None:
        found = package(text)
        every = {id(names := installed(made)): names for made in self.statements}
        names = {"python"}.union(*every.values())
        return Thing(self.what, PACKAGE, name=found.name, versions=found.versions) \
            if found and found.name in names else None  # fmt: skip

    def _module(self, text: str) -> Thing | None:
        module = (
            text.partition(":")[0].removesuffix(".py").replace("/", ".").removeprefix("scripts.")
        )
        digests: dict[str, set[str]] = {}
        every = {id(made.code["modules"]): made.code["modules"] for made in self.statements}
        for modules in every.values():
            for name, digest in modules.items():
                if name == module or name.startswith(f"{module}."):
                    digests.setdefault(name, set()).add(digest)
        if digests:
            return self.thing(MODULE, modules={k: sorted(v) for k, v in sorted(digests.items())})
        return self.thing(MODULE, modules={module: []}) if is_outside(module) else None

    def _attempt(self, text: str) -> Thing | None:
        thing = self.thing(ATTEMPT, name=text.removeprefix(f"{RESULTS}/provenance/attempts/"))
        return thing if any(map(thing.is_of, self.statements)) else None

    def _host(self, text: str) -> Thing | None:
        thing = self.thing(HOST, name=text)
        return thing if any(map(thing.is_of, self.statements)) else None


def _listed(which: str, text: str) -> set[int]:
    """``3-9,17`` as numbers."""
    found: set[int] = set()
    for part in which.split(","):
        ends = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part.strip())
        if not ends:
            raise AtlasError(f"{text}: {part!r} is no row; give ids as 17 or 3-9,17, or /word/.")
        found |= set(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return found


def _matching(place: Path, which: str, text: str) -> set[int]:
    """Ids of the rows in which a pattern is found."""
    given = which[1:].removesuffix("/")
    try:
        re.compile(given)
    except (re.error, RecursionError, OverflowError) as error:
        raise AtlasError(
            f"{text}: {given!r} is no pattern ({error}); give ids as 17 or 3-9,17, or /word/."
        ) from None
    pattern = f"(?s:.*(?:{given}).*)"
    texts = [
        dumped(row) for row in parse_jsonl(read_bounded(place).decode().split("\n"), str(place))
    ]
    (found,) = matches([(pattern, texts)], str(place))
    return {i for i, row in enumerate(texts) if row in found}
