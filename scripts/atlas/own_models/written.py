"""The configuration of a user's own models: a few lines and a sheet, which stay the user's."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from atlas.errors import AtlasError
from atlas.files import write_whole
from atlas.own_models.found import FoundModel
from atlas.plan.sheets import OPTIONAL, SHEET_COLUMNS

MARK = re.compile(r"# Written by scripts/map_models\.py \(([0-9a-f]{12})\)\.\n")
COLUMNS = (*SHEET_COLUMNS, *OPTIONAL)


@dataclass(frozen=True)
class Member:
    """A model of a pool: its line of the sheet."""

    found: FoundModel
    name: str
    base: str
    domain: str

    def cells(self) -> tuple[str, ...]:
        """Its cells, as COLUMNS has them."""
        kind = "adapter" if self.found.adapter else "full"
        return (self.name, self.found.source, self.base, self.domain, kind, self.found.subfolder)


def sheet_of(pool: str) -> Path:
    """The sheet of a pool."""
    return Path(f"{pool}.tsv")


def earlier_domains(name: str) -> dict[str, str]:
    """Where a model is -> its domain, in the sheets of a configuration that this command wrote.

    :raises AtlasError: where a file of these names is another's.
    """
    file = Path(f"{name}.yaml")
    found: dict[str, str] = {}
    refuse_others(file)
    for sheet in sorted(Path().glob(f"{name}*.tsv")) if file.is_file() else []:
        if sheet == sheet_of(name) or sheet.name.startswith(f"{name}--"):
            with sheet.open(encoding="utf-8", newline="") as handle:
                for row in csv.DictReader(handle, delimiter="\t"):
                    where = filter(None, (row.get("source"), row.get("subfolder")))
                    found["/".join(where)] = row.get("domain") or ""
    return found


def refuse_others(file: Path) -> None:
    """Refuse to write over a configuration, or a sheet beside it, that this command did not write."""
    sheet = file.with_suffix(".tsv")
    if file.is_file() and not MARK.match(file.read_text(encoding="utf-8", errors="replace")):
        other: Path | None = file
    else:
        other = sheet if sheet.is_file() and not file.is_file() else None
    if other:
        raise AtlasError(
            f"{other}: is there already, and not of this command; give --name and another name, or move it."
        )


def write_configuration(
    name: str, pools: Mapping[str, Sequence[Member]], bases: Mapping[str, Any],
    spaces: Mapping[str, Sequence[str]],
) -> Path:  # fmt: skip
    """Write the configuration and a sheet for each pool.

    What the user has changed in the configuration stays; sheets have the models that were named.

    :param spaces: of each pool.
    :raises AtlasError: where a file is another's, or a changed configuration lacks what is needed.
    """
    file = Path(f"{name}.yaml")
    refuse_others(file)
    entries = {pool: {"sheet": str(sheet_of(pool)), "spaces": list(spaces[pool])} for pool in pools}
    found: dict[str, Any] = {"defaults": False, "pools": entries}
    if bases:
        found = {"defaults": False, "bases": dict(bases), "pools": entries}
    body = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, default_flow_style=None)
    if file.is_file() and _changed(file):
        _check_changed(file, entries, bases)
    else:
        write_whole(file, f"# Written by scripts/map_models.py ({_digest(body)}).\n{body}".encode())
    for pool, members in pools.items():
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter="\t", lineterminator="\n")
        writer.writerows([COLUMNS, *(member.cells() for member in members)])
        write_whole(sheet_of(pool), text.getvalue().encode())
    return file


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:12]


def _changed(file: Path) -> bool:
    """Whether a configuration was changed since this command wrote it."""
    text = file.read_text(encoding="utf-8")
    mark = MARK.match(text)
    return not mark or mark[1] != _digest(text[mark.end() :])


def _check_changed(file: Path, pools: Mapping[str, Any], bases: Mapping[str, Any]) -> None:
    own = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    for section, wanted in (("pools", pools), ("bases", bases)):
        if missing := [name for name in wanted if name not in (own.get(section) or {})]:
            raise AtlasError(
                f"{file}: was changed by hand and has no {section}.{missing[0]}; add it, or give --name and "
                "another name."
            )
