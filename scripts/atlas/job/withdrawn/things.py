"""What may be bad: rows, files, a package, a module, what a host did; and which statements begin with it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from atlas.job.statements import Statement
from atlas.job.withdrawn.requirements import may_need

ROWS, FILES, PACKAGE, MODULE, ATTEMPT, HOST = (
    "rows", "files", "package", "module", "attempt", "host",
)  # fmt: skip
ANY = "*"  # in the place of a SHA-256: whatever bytes


@dataclass(frozen=True)
class Thing:
    """A thing in plain values, which a notice stores.

    :param what: as somebody typed it.
    :param kind: ``rows``, ``files``, ``package``, ``module``, ``attempt`` or ``host``.
    :param files: of ``files``: path (:data:`ANY`: wherever) -> SHA-256 (:data:`ANY`: whatever bytes);
        of ``rows``: the raw file -> SHA-256 that it had.
    :param rows: row id in that raw file -> SHA-256 of its line.
    :param name: of a package, with ``versions`` (a specifier of PEP 440); of an attempt or a host.
    :param modules: module -> digests of its syntax tree.
    """

    what: str
    kind: str
    files: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    name: str = ""
    versions: str = ""
    modules: dict[str, list[str]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """What a notice stores: what is there."""
        return {key: value for key, value in asdict(self).items() if value}

    @property
    def runs(self) -> bool:
        """Whether jobs run with it, whatever they read."""
        return self.kind in (PACKAGE, MODULE, ATTEMPT, HOST)

    @cached_property
    def ids(self) -> frozenset[int]:
        """Row ids."""
        return frozenset(map(int, self.rows))

    def is_file(self, path: str, digest: str) -> bool:
        """Whether a file is the thing, or has its rows in it when they were found."""
        for place in (path, ANY):
            found = self.files.get(place, ())
            if digest in found or ANY in found:
                return True
        return False

    def is_of(self, made: Statement) -> bool:
        """Whether a job ran with the thing."""
        if self.kind == PACKAGE:
            return self._has_package(made)
        if self.kind == MODULE:
            modules: Mapping[str, str] = made.code["modules"]
            return any(modules.get(module) in digests for module, digests in self.modules.items())
        if self.kind == ATTEMPT:
            attempt = str(made.execution.get("attempt", ""))
            return self.name in (attempt, attempt.partition("/")[0], made.run, made.digest)
        return self.kind == HOST and made.execution.get("host") == self.name

    def _has_package(self, made: Statement) -> bool:
        """Whether a version was there and what the job imports has it behind it."""
        if self.name == "python":
            return satisfies(str(made.execution.get("python", "")), self.versions)
        version = installed(made).get(self.name)
        if version is None or not satisfies(version, self.versions):
            return False
        return may_need(_canonical(made.code["distributions"]).keys(), self.name)


# Of many statements, packages are one object: its identity stands for it while it is held here.
_CANONICAL: dict[int, tuple[Any, dict[str, str]]] = {}
_INSTALLED: dict[tuple[int, int], dict[str, str]] = {}


def _canonical(packages: dict[str, str]) -> dict[str, str]:
    if id(packages) not in _CANONICAL:
        named = {str(canonicalize_name(name)): version for name, version in packages.items()}
        _CANONICAL[id(packages)] = (packages, named)
    return _CANONICAL[id(packages)][1]


def installed(made: Statement) -> dict[str, str]:
    """Canonical name -> version of all distributions that a job could import."""
    parts = (made.packages, made.code["distributions"])
    key = (id(parts[0]), id(parts[1]))
    if key not in _INSTALLED:
        _INSTALLED[key] = _canonical(parts[0]) | _canonical(parts[1])
    return _INSTALLED[key]


@cache
def satisfies(version: str, specifier: str) -> bool:
    """Whether a version is within a specifier; one that is no version of PEP 440 is, to be safe."""
    if not specifier:
        return bool(version)
    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return bool(version)


def package(what: str) -> Thing | None:
    """``trl<1.16``, ``trl==1.15.0``: the package at some versions; None where it is none."""
    found = re.fullmatch(r"([A-Za-z0-9][\w.-]*)\s*((?:[<>=!~]=?=?\s*[\w.*+!-]+\s*,?\s*)*)", what)
    if not found:
        return None
    try:
        specifier = str(SpecifierSet(found[2]))
    except InvalidSpecifier:
        return None
    return Thing(what, PACKAGE, name=str(canonicalize_name(found[1])), versions=specifier)
