"""The history against itself, against the files of runs and attempts, and against statements."""

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any

from atlas.errors import AtlasError
from atlas.files import owner_of
from atlas.job.attempts import ATTEMPTS
from atlas.job.history import PREVIOUS, SIGNED, corrects, entry_of, head, latest, lines, of_records
from atlas.job.records import HISTORY, MANIFEST, NOTICES, SIGNATURE, Records
from atlas.job.statements import Statement, place_of
from atlas.job.withdrawn.notices import NOTICE
from atlas.lineage.faults import Fault, Verification
from atlas.lineage.file_digests import FileDigests

SINCE = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?)?)?")


def check_history(
    records: Records, statements: Iterable[Statement], digests: FileDigests
) -> Verification:
    """What of the history is not as it was written, and which attempts it does not tell of yet."""
    told = lines(records.root)
    entries = list(map(entry_of, told))
    said, there = latest(entries), {entry["file"]: entry for entry in of_records(records.root)}
    found = Verification()
    if not told and not there:
        return found
    broken = [
        number for number, entry in enumerate(entries, start=1)
        if entry.get(PREVIOUS) != head(told[: number - 1])
    ]  # fmt: skip
    if broken:
        found.faults.append(_fault(f"line {broken[0]} does not follow the one before it: lines were "
                                   "altered, moved, added or taken out"))  # fmt: skip
    numbers = {entry["file"]: n for n, entry in enumerate(entries, start=1) if "file" in entry}
    for name, entry in said.items():
        if name not in there:
            # Earlier versions took in files that were about to get their name.
            if owner_of(name.rpartition("/")[2]) is None:
                found.faults.append(_fault(f"line {numbers[name]} tells of {name}, which is gone"))
        elif there[name] != entry and not corrects(entry, there[name]):
            found.faults.append(_fault(f"line {numbers[name]} is not what {name} says"))
    found.faults += _statements_gone(records, {**said, **there})
    found.faults += _attempts_gone(statements, there)
    found.faults += _signature_altered(records, entries, digests)
    found.faults += _notices_altered(records, entries, digests)
    if lacking := [name for name in there if name not in said]:
        found.notes.append(
            f"{HISTORY} does not tell of {len(lacking)} runs and attempts of {ATTEMPTS}/: their run was "
            "killed, or lines were cut off; the next run adds them"
        )
    return found


def _fault(sentence: str) -> Fault:
    return Fault("history", HISTORY, sentence)


def _statements_gone(records: Records, said: Mapping[str, dict[str, Any]]) -> list[Fault]:
    """Statements that attempts wrote, also those that were replaced since."""
    return [
        Fault("statement", place_of(digest), f"is gone; {name} wrote it")
        for name, entry in said.items()
        if isinstance(digest := entry.get("statement"), str)
        and not (records.root / place_of(digest)).is_file()
    ]  # fmt: skip


def _attempts_gone(statements: Iterable[Statement], there: Mapping[str, Any]) -> list[Fault]:
    """Attempts that statements name."""
    return [
        _fault(f"{name} is gone; the statement of {statement.job} names it")
        for statement in statements
        if (attempt := statement.execution.get("attempt"))
        and (name := f"{ATTEMPTS}/{attempt}") not in there
    ]


def _signature_altered(
    records: Records, entries: Iterable[dict[str, Any]], digests: FileDigests
) -> list[Fault]:
    """Files of a signature, which the history knows, whoever has no key to check them with."""
    signed = next(
        (e[SIGNED] for e in reversed(list(entries)) if isinstance(e.get(SIGNED), dict)), {}
    )
    found = []
    for name in (MANIFEST, SIGNATURE):
        now, then = digests.of(records.root / name), signed.get(name)
        if now != then:
            what = "is not the one that was signed" if now else "is gone, and was signed"
            sentence = what if then else f"is of no signature that {HISTORY} tells of"
            found.append(Fault("signature", name, sentence, then, now))
    return found


def _notices_altered(
    records: Records, entries: Iterable[dict[str, Any]], digests: FileDigests
) -> list[Fault]:  # fmt: skip
    """Notices that the history tells of and that are gone or altered, and such as it does not tell of."""
    told = {str(said["file"]): said.get("sha256") for entry in entries
            if isinstance(said := entry.get(NOTICE), dict) and "file" in said}  # fmt: skip
    there = {f"{NOTICES}/{file.name}" for file in (records.root / NOTICES).glob("[!.]*.json")}
    found = []
    for name in sorted({*told, *there}):
        now = digests.of(records.root / name)
        if now != told.get(name):
            what = "is gone" if now is None else "is not the one that was written"
            sentence = what if name in told else f"is no notice that {HISTORY} tells of"
            found.append(Fault("history", name, sentence, told.get(name), now))
    return found


def newest_first(
    entries: list[dict[str, Any]], outcome: str | None, rule: str | None, since: str | None, last: int | None
) -> list[dict[str, Any]]:  # fmt: skip
    """Attempts, the newest first.

    :param rule: a glob. :param since: the beginning of a time in ISO 8601, or as it is listed.
    :param last: how many at most.
    :raises AtlasError: for what is no time.
    """
    if since is not None and not SINCE.fullmatch(since):
        raise AtlasError(
            f"{since}: is no time; give the beginning of one, as 2026-01-31 or 2026-01-31T12:30."
        )
    start = "" if since is None else since.replace(" ", "T")
    found = [
        entry for entry in reversed(entries)
        if (outcome is None or entry["outcome"] == outcome)
        and (rule is None or fnmatch.fnmatchcase(str(entry.get("rule", "")), rule))
        and entry["started"] >= start
    ]  # fmt: skip
    return found[:last]
