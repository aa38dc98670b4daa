"""Notices in results/provenance/notices/: a thing is withdrawn, or a notice is undone. None is deleted."""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from atlas import owners
from atlas.errors import AtlasError
from atlas.files import json_bytes, read_object, write_whole
from atlas.job import history
from atlas.job.attempts import now, user
from atlas.job.records import NOTICES, Records
from atlas.job.statements import Statement
from atlas.job.withdrawn.reach import Backward, Step
from atlas.job.withdrawn.things import Thing

# Jobs that read what hangs on something withdrawn, for they say so.
TELLERS = ("atlas.bills.bill:write_bill", "atlas.bills.hub_cards:write_hub_card")
NOTICE = "notice"  # key of a line of the history: file and SHA-256
_TEXTS = ("what", "kind", "name", "versions")


@dataclass(frozen=True)
class Notice:
    """That a thing was withdrawn.

    :param id: the first digits of the SHA-256 of its file, by which it is undone.
    :param undone: reason of the notice that undoes it.
    """

    id: str
    thing: Thing
    reason: str
    user: str
    time: str
    undone: str | None = None

    @property
    def sentence(self) -> str:
        """What was withdrawn, when and why."""
        return f"{self.thing.what}, which was withdrawn on {self.time[:10]} ({self.reason})"


def write(root: Path, value: dict[str, Any]) -> str:
    """Write a notice; the history has a line of it.

    :param value: ``thing`` (:meth:`Thing.plain`) or ``undoes`` (an id), and ``reason``.
    :returns: its id.
    """
    said = {**value, "user": user() or "", "host": owners.machine(), "time": now()}
    data = json_bytes(said)
    digest = hashlib.sha256(data).hexdigest()
    file = f"{NOTICES}/{digest[:16]}.json"
    (root / NOTICES).mkdir(parents=True, exist_ok=True)
    write_whole(root / file, data)
    by = {"user": said["user"], "host": said["host"], "ended": said["time"]}
    history.append(root, {NOTICE: {"file": file, "sha256": digest}, **by})
    return digest[:16]


def read(root: Path) -> list[Notice]:
    """All notices that withdraw something, the newest last.

    :raises AtlasError: for one that is no notice: what it withdrew is not known.
    """
    found, undone = [], dict[str, str]()
    for file in sorted((root / NOTICES).glob("[!.]*.json")):
        try:
            value = read_object(file)
            if "undoes" in value:
                undone[_text(value, "undoes")] = _text(value, "reason")
            else:
                said = (_text(value, key) for key in ("reason", "user", "time"))
                found.append(Notice(file.stem, _thing(value["thing"]), *said))
        except (OSError, AtlasError, KeyError, TypeError, ValueError):
            raise AtlasError(
                f"{file}: is no notice, so that it is not known what was withdrawn; see lineage.py verify."
            ) from None
    texts = sorted(found, key=lambda notice: notice.time)
    return [Notice(n.id, n.thing, n.reason, n.user, n.time, undone.get(n.id)) for n in texts]


def standing(root: Path) -> list[str]:
    """Ids of the notices that are not undone."""
    return [notice.id for notice in read(root) if notice.undone is None]


def named(root: Path, ids: Iterable[str]) -> list[Notice]:
    """Notices by their ids, undone or not.

    :raises AtlasError: where there is none of an id.
    """
    known = {notice.id: notice for notice in read(root)}
    if missing := sorted(set(ids) - known.keys()):
        raise AtlasError(f"{missing[0]}: is no notice that is here.")
    return [notice for id_, notice in known.items() if id_ in set(ids)]


def _text(value: dict[str, Any], key: str) -> str:
    if not isinstance(value[key], str):
        raise TypeError(key)
    return str(value[key])


def _thing(value: Any) -> Thing:
    """A thing as a notice stores it; anybody may have written it."""
    known = {field.name for field in fields(Thing)}
    if not isinstance(value, dict) or not value.keys() <= known:
        raise TypeError("thing")
    for key in _TEXTS:
        if not isinstance(value.get(key, ""), str):
            raise TypeError(key)
    for key in ("files", "modules"):
        listed = json.dumps(value.get(key, {}))
        entries = value.get(key, {})
        if not isinstance(entries, dict) or not all(isinstance(v, list) for v in entries.values()):
            raise TypeError(listed)
    rows = value.get("rows", {})
    if not (isinstance(rows, dict) and all(isinstance(v, str) for v in rows.values())):
        raise TypeError("rows")
    thing = Thing(**value)
    assert thing.ids is not None  # numbers, or a ValueError
    return thing


class Withdrawn:
    """What hangs on something that is withdrawn, of one folder."""

    def __init__(self, records: Records) -> None:
        self.records = records

    @cached_property
    def notices(self) -> list[Notice]:
        """Those that are not undone."""
        return [notice for notice in read(self.records.root) if notice.undone is None]

    @cached_property
    def _behind(self) -> list[tuple[Notice, Backward]]:
        return [
            (n, Backward(Step(n.thing, self.records), self.records.maker)) for n in self.notices
        ]

    def ran(self, made: Statement) -> bool:
        """Whether a job ran with something withdrawn, or kept what one that did had computed."""
        return any(behind.step.ran(made) for _, behind in self._behind)

    def on(self, path: str, digest: str) -> Notice | None:
        """The first notice that a file hangs on, or None."""
        return next((n for n, behind in self._behind if behind.held(path, digest)), None)

    def behind(self, paths: Iterable[str], ids: Collection[str]) -> list[Notice]:
        """Of some notices, those that one of some artefacts hangs on as it is now."""
        wanted = [pair for pair in self._behind if pair[0].id in ids] if ids else []
        made = [(path, self.records.statement(path)) for path in (paths if wanted else ())]
        files = [(path, one.outputs[path]) for path, one in made if one]
        return [n for n, behind in wanted if any(behind.held(*file) for file in files)]

    def refuse_to_run(self, planned: Statement) -> None:
        """Refuse a job that would run with something withdrawn.

        :raises AtlasError: naming it, and what to do.
        """
        if notice := next((n for n in self.notices if n.thing.is_of(planned)), None):
            raise AtlasError(
                f"{planned.rule} would run with {notice.sentence}; change that, or undo the notice with "
                f"`python scripts/lineage.py withdraw --undo {notice.id} --reason …`."
            )

    def refuse(self, inputs: Iterable[tuple[str, str]]) -> None:
        """Refuse what hangs on something withdrawn.

        :param inputs: path and SHA-256.
        :raises AtlasError: naming the first, and what to do.
        """
        for path, digest in inputs if self.notices else ():
            if notice := self.on(path, digest):
                raise AtlasError(
                    f"{path} hangs on {notice.sentence}; make it again without that, or undo the notice "
                    f"with `python scripts/lineage.py withdraw --undo {notice.id} --reason …`."
                )
