"""What hangs on a thing: a job that read it, or ran with it, and all that was made of what that wrote."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from atlas.job.records import BrokenRecordError, Records
from atlas.job.statements import Statement, is_artefact, kept_from
from atlas.job.withdrawn.rows import SPLIT, Ids, has, ids_in
from atlas.job.withdrawn.things import ROWS, Thing

File = tuple[str, str]  # path and SHA-256
Maker = Callable[[str, str], Statement | None]


class Held(NamedTuple):
    """That a file hangs on a thing.

    :param ids: where the thing is rows, those of them that a file of rows may have; None: any.
    """

    ids: Ids = None


class Step:
    """The one rule of the way forward: from what a job read to what it wrote.

    :param whole: take rows for the whole of their file: where a line is taken out, those after it move.
    """

    def __init__(self, thing: Thing, records: Records, *, whole: bool = False) -> None:
        self.thing = thing
        self.records = records
        self.whole = whole
        self._ids: dict[File, Ids] = {}
        self._stored: dict[str, Statement | None] = {}

    def begins(self, path: str, digest: str) -> Held | None:
        """Whether a file is the thing, or has it in it."""
        if not self.thing.files:
            return None
        if self.thing.kind != ROWS:
            return Held() if self.thing.is_file(path, digest) else None
        if (
            self.whole and f"{path}l" in self.thing.files
        ):  # the record beside, which counts the rows
            return Held()
        if path not in self.thing.files:
            return None
        ids = self._of_raw(path, digest)
        return None if ids == frozenset() else Held(None if self.whole else ids)

    def leads(self, made: Statement, held: dict[str, Held]) -> Held | None:
        """Whether the outputs of a job hang on the thing.

        :param held: inputs that do.
        """
        if self.ran(made):
            return Held()
        function = made.code["function"]
        for path, found in held.items():
            if has(made, path, found.ids, self.find):
                if function != SPLIT:
                    return Held()
                return found
        return None

    def ran(self, made: Statement) -> bool:
        """Whether a job ran with the thing, or kept what an earlier one that did had computed."""
        if not self.thing.runs:
            return False
        seen: set[str] = set()
        at: Statement | None = made
        while at is not None and not self.thing.is_of(at):
            digest = kept_from(at)
            if digest is None or digest in seen:
                return False
            seen.add(digest)
            at = self._earlier(digest)
        return True  # what is not known any more counts as had

    def _earlier(self, digest: str) -> Statement | None:
        if digest not in self._stored:
            try:
                self._stored[digest] = self.records.stored(digest)
            except BrokenRecordError:
                self._stored[digest] = None
        return self._stored[digest]

    def find(self, path: str, digest: str) -> Path | None:
        """Where a file is, if it is still the one with a digest, as its newest statement says."""
        try:
            made = self.records.statement(path)
        except BrokenRecordError:
            return None
        place = self.records.path(path)
        return place if made and made.outputs[path] == digest and place.is_file() else None

    def _of_raw(self, path: str, digest: str) -> Ids:
        """Of a raw file, the rows that are the thing; None where that version is not there any more."""
        file = (path, digest)
        if file not in self._ids:
            place = self.find(path, digest)
            if self.thing.is_file(path, digest):
                self._ids[file] = self.thing.ids
            else:
                self._ids[file] = ids_in(place, self.thing.rows.values()) if place else None
        return self._ids[file]


def forward(step: Step, statements: Iterable[Statement]) -> dict[File, Held]:
    """All files that hang on a thing, of some statements.

    Of several jobs that made the same bytes, the last counts.
    """
    found: dict[File, Held] = {}
    order = sorted(statements, key=lambda made: (made.finished, made.digest))
    maker = {file: made for made in order for file in made.outputs.items()}
    again = True
    while again:
        again = False
        passed: set[File] = set()  # read before it was known to hang: clocks of hosts disagree
        for made in order:
            held = {}
            for file in made.inputs.items():
                if reached := found.get(file) or step.begins(*file):
                    held[file[0]] = found[file] = reached
                else:
                    passed.add(file)
            reached = step.leads(made, held) if held or step.thing.runs else None
            for file in made.outputs.items():
                new = reached or step.begins(*file)
                if new and file not in found and maker[file] is made:
                    found[file] = new
                    again |= file in passed
    return found


class Backward:
    """Whether single files hang on a thing: each is followed back to where it came from."""

    def __init__(self, step: Step, maker: Maker) -> None:
        self.step = step
        self._maker = maker
        self._known: dict[File, Held | None] = {}

    def held(self, path: str, digest: str) -> Held | None:
        """That a file hangs on the thing, or None."""
        queue: list[File] = [(path, digest)]
        while queue:
            file = queue[-1]
            made = self._maker(*file) if is_artefact(file[0]) else None
            if file not in self._known:
                self._known[file] = self.step.begins(*file)  # a forged circle ends here
                if self._known[file] is None and made:
                    queue += [one for one in made.inputs.items() if one not in self._known]
                continue
            queue.pop()
            if self._known[file] is None and made:
                self._known[file] = self._leads(made)
        return self._known[path, digest]

    def _leads(self, made: Statement) -> Held | None:
        found = {file[0]: self._known.get(file) for file in made.inputs.items()}
        return self.step.leads(made, {path: held for path, held in found.items() if held})
