"""Is every artefact what its attestation says, back to the sources?"""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from atlas import owners
from atlas.bills.retold import differs
from atlas.errors import AtlasError
from atlas.files import owner_of, read_json
from atlas.job.attempts import read_runs
from atlas.job.closures import Library
from atlas.job.records import CRATE_FILE, MANIFEST, SEAL, SIGNATURE, BrokenRecordError, Records
from atlas.job.statements import Statement, is_artefact
from atlas.job.withdrawn.notices import Withdrawn
from atlas.lineage.causes import changed
from atlas.lineage.crate_files import crate_files, is_included, read_seal
from atlas.lineage.faults import Fault, Kind, Verification
from atlas.lineage.file_digests import UNREADABLE, FileDigests
from atlas.lineage.past import check_history

MOST = 5  # parts of the workflow that a note names


def verify(
    records: Records, files: Collection[str] | None = None, digests: FileDigests | None = None
) -> Verification:
    """Check artefacts (None: everything below results/, crates included), and what is behind them."""
    check = _Check(records, digests or FileDigests())
    check.collect({*records.artefacts(), *records.attested()} if files is None else files)
    if files is None:
        check.strangers()
    for name in sorted(check.names):
        check.artefact(name)
    for statement in check.statements.values():
        check.inputs(statement)
        check.code(statement)
    check.retold()
    check.workflow()
    check.rank()
    check.touched()
    check.withdrawn(check.names if files is None else files)
    if files is None:
        check.records_themselves()
        check.crates()
    found = check.found
    found.faults.sort(key=lambda f: (not f.first, not is_artefact(f.file), f.file, f.kind))
    found.names = sorted(check.names)
    found.files, found.bytes = len(check.names), check.digests.bytes
    found.statements = len(check.statements)
    return found


class _Check:
    def __init__(self, records: Records, digests: FileDigests) -> None:
        self.records = records
        self.digests = digests
        self.found = Verification()
        self.names: set[str] = set()
        self.statements: dict[str, Statement] = {}
        self.made_by: dict[str, Statement] = {}
        self.bad_files: set[str] = set()
        self.bad_jobs: set[str] = set()
        self.elsewhere: dict[str, str] = {}
        self._readers: dict[str, list[Statement]] | None = None
        self.withdrawals = Withdrawn(records)
        if records.is_crate:
            crate = crate_files(read_json(records.root / CRATE_FILE))
            self.elsewhere = {file.path: file.sha256 for file in crate if not file.included}
        elif (records.root / CRATE_FILE).exists():
            self.found.notes.append(
                f"{CRATE_FILE} beside results/ says nothing of a run, and was not read"
            )
        self.library = Library(records.workflow / "scripts") if records.workflow else None
        if not self.library:
            self.found.notes.append("there are no scripts beside results/: code was not compared")

    def add(
        self, kind: Kind, file: str, sentence: str, expected: str | None = None,
        found: str | None = None, job: str | None = None,
    ) -> None:  # fmt: skip
        self.found.faults.append(Fault(kind, file, sentence, expected, found, job))

    def collect(self, names: Iterable[str]) -> None:
        """All artefacts behind the names, and the statements that made them; hash their files."""
        queue = list(names)
        while queue:
            name = queue.pop()
            if name in self.names:
                continue
            self.names.add(name)
            try:
                made = self.records.statement(name)
            except BrokenRecordError as error:
                self.bad_files.add(name)
                self.add("statement", name, f"its attestation is broken: {error}")
                continue
            if made is not None:
                self.made_by[name] = self.statements[made.digest] = made
                queue += filter(is_artefact, made.inputs)
        inputs = {path for statement in self.statements.values() for path in statement.inputs}
        self.digests.read(self.records.path(name) for name in self.names | inputs)

    def artefact(self, name: str) -> None:
        """One artefact against its attestation."""
        if name in self.bad_files:
            return
        made, found = self.made_by.get(name), self.digests.of(self.records.path(name))
        expected = made.outputs[name] if made else None
        if made and found == expected:
            return
        if made and found is None:
            if self.elsewhere.get(name) == expected and not is_included(name, made):
                self.found.elsewhere.append(name)
                return
            if name in made.temporary:
                self.found.absent.append(name)
                return
        self.bad_files.add(name)
        kind: Kind = "missing"
        if found == UNREADABLE:
            kind, sentence = "artefact", "cannot be read"
        elif made and expected and found:
            kind, sentence = "artefact", (
                f"is not what {made.rule} made: SHA-256 {found[:12]}…, attested {expected[:12]}…"
            )  # fmt: skip
        elif made:
            pointer = self.records.mirror(name).relative_to(self.records.root)
            sentence = f"is missing; make it again, or remove {pointer} if it is not wanted"
        elif found:
            kind, sentence = "unattested", "has no attestation: no job of this workflow made it"
        elif os.path.lexists(self.records.path(name)):
            kind, sentence = "unattested", "is a folder, a link or no file, and no job made it"
        else:
            sentence = "is missing, and so is its attestation"
        self.add(kind, name, sentence, expected, found, made.job if made else None)

    def retold(self) -> None:
        """What tells of statements, bills and cards, against what these say."""
        for name, made in self.made_by.items():
            if name not in self.bad_files and (
                how := differs(self.records, name, made, self.withdrawals)
            ):
                self.bad_files.add(name)
                self.add("artefact", name, f"says something else than the statements: {how}",
                         made.outputs[name], job=made.job)  # fmt: skip

    def inputs(self, statement: Statement) -> None:
        """What a job read against what made it, or against the file outside results/."""
        for path, expected in statement.inputs.items():
            inside = is_artefact(path)
            if inside and path not in self.made_by:
                continue  # missing, unattested or broken: said of the file itself
            found = self.made_by[path].outputs[path] if inside else self._outside(path)
            if found == expected:
                continue
            name = self._name(statement)
            if found is not None:
                self.bad_jobs.add(statement.digest)
                there = "its attestation says" if inside else "it is now"
                self.add("input", name,
                         f"was made from another {path}: SHA-256 {expected[:12]}… then, "
                         f"{there} {found[:12]}…", expected, found, statement.job)  # fmt: skip
            elif path not in self.bad_files:
                self.bad_files.add(path)
                self.add("missing", path, f"is missing; {name} was made from it", expected)

    def code(self, statement: Statement) -> None:
        """The modules behind a job against those at hand."""
        if not self.library:
            return
        try:
            now, _ = self.library.modules_behind(statement.code["function"])
        except (
            ImportError,
            SyntaxError,
            ValueError,
            OSError,
            RecursionError,
            MemoryError,
        ) as error:
            now = {}
            self.found.notes.append(str(error))
        if not (differing := changed(statement.code["modules"], now)):
            return
        self.bad_jobs.add(statement.digest)
        module, (before, after) = next(iter(differing.items()))
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        self.add("code", self._name(statement),
                 f"was made by other code: {module}{more} changed since ({before or 'absent'} "
                 f"then, {after or 'absent'} now)", before, after, statement.job)  # fmt: skip

    def workflow(self) -> None:
        """Rules, and modules that alter no byte, against those that jobs ran with: a note."""
        if not self.library:
            return
        now, jobs = self.library.outside(), Counter[str]()
        for statement in self.statements.values():
            then = statement.code.get("outside", {})
            jobs.update(part for part, digest in then.items() if now.get(part) != digest)
        if jobs:
            parts = [f"{part} ({n} jobs)" for part, n in jobs.most_common(MOST)]
            more = f" and {len(jobs) - MOST} more" if len(jobs) > MOST else ""
            self.found.notes.append(
                f"rules, or modules that alter no byte of an artefact, were changed since jobs ran with "
                f"them: {', '.join(parts)}{more}"
            )

    def strangers(self) -> None:
        """What stands below results/ and is neither an artefact nor a record."""
        for name in self.records.foreign():
            self.add("unattested", name, "is no record of this workflow")
        for name in self.records.unfinished():
            if owners.is_alive(owner_of(name) or ""):
                self.found.notes.append(f"{name} is being written by a run that goes on")
            else:
                self.add("unattested", name, "is no file that a run is writing; the next run removes what "
                         "one that is over has left")  # fmt: skip

    def _outside(self, path: str) -> str | None:
        """SHA-256 of a file that no job made."""
        found = self.digests.of(self.records.path(path))
        if found is None and path in self.elsewhere and not is_included(path, None):
            self.found.elsewhere.append(path)
            return self.elsewhere[path]
        return found

    def rank(self) -> None:
        """Tell first broken links from their consequences, and count what stands on each."""
        # What no job made and is not there is no reason why what is there is other than its job made it.
        outside = {path for path in self.bad_files if not is_artefact(path)}
        bad = (self._own(self.statements[digest]) for digest in self.bad_jobs)
        consequences = self._made_from((self.bad_files - outside).union(*bad))
        for fault in self.found.faults:
            files = {fault.file}
            if made := self.made_by.get(fault.file):
                fault.first = fault.file not in consequences
                if made.digest in self.bad_jobs:
                    files = set(made.outputs)
                    fault.first &= fault.kind != "artefact"
            fault.behind = len(self._made_from(files) - files)

    def _made_from(self, files: Iterable[str]) -> set[str]:
        """What was made, directly or not, from some files."""
        if self._readers is None:
            self._readers = defaultdict(list)
            for statement in self.statements.values():
                for path in statement.inputs:
                    self._readers[path].append(statement)
        reached: set[str] = set()
        queue = list(files)
        while queue:
            for reader in self._readers.get(queue.pop(), []):
                new = self._own(reader)
                queue += new - reached
                reached |= new
        return reached

    def withdrawn(self, asked: Iterable[str]) -> None:
        """What hangs on something that was withdrawn, of some files, and by which way they do."""
        withdrawn = self.withdrawals
        if not withdrawn.notices:
            return
        hanging = {name: notice for name, made in self.made_by.items()
                   if (notice := withdrawn.on(name, made.outputs[name]))}  # fmt: skip
        # A model that drew other rows stands on a raw file that has the withdrawn one, and has not.
        told, queue = set[str](), list(asked)
        while queue:
            if (name := queue.pop()) in hanging and name not in told:
                told.add(name)
                queue += self.made_by[name].inputs
        for name in sorted(told):
            made, notice = self.made_by[name], hanging[name]
            self.add("withdrawn", name, f"hangs on {notice.sentence}", job=made.job)
            fault = self.found.faults[-1]
            fault.first = hanging.keys().isdisjoint(made.inputs)
            fault.behind = len(self._made_from([name]) & hanging.keys())

    def records_themselves(self) -> None:
        """Statements against their names, and the history against the attempts."""
        for path, digest in self.records.broken_statements():
            what = (
                "was altered: its bytes are not those of its name" if digest else "is no statement"
            )
            self.add("statement", path, what,
                     Path(path).stem, digest)  # fmt: skip
        if not self.records.is_crate:
            self.found.add(check_history(self.records, self.statements.values(), self.digests))

    def touched(self) -> None:
        """What ``snakemake --touch`` took as made, and is still what it was then."""
        told = {n: entry for run in read_runs(self.records.root) for n, entry in _touched(run)}
        seen: set[str] = set()
        for name in sorted(told.keys() & self.made_by.keys()):
            made, entry = self.made_by[name], told[name]
            # Other modules are told of as such.
            otherwise = [cause for cause in entry["otherwise"] if cause[0] != "module"]
            if made.digest == entry["statement"] and otherwise and made.digest not in seen:
                seen.add(made.digest)
                kind, key, before, after = otherwise[0]
                more = f" and {len(otherwise) - 1} more" if otherwise[1:] else ""
                self.add("touched", name,
                         f"was made otherwise than it would be now ({kind} {key}: {before} then, "
                         f"{after} now{more}), and --touch took it as made", job=made.job)  # fmt: skip

    def crates(self) -> None:
        """Crates below results/: their files, and their own records."""
        for name in sorted(n for n in self.names if Path(n).name == CRATE_FILE):
            root = self.records.path(name).parent
            if not root.is_dir() or name in self.bad_files:
                continue
            for fault in verify_crate(root, self.digests).faults:
                fault.file = f"{name.rpartition('/')[0]}/{fault.file}"
                self.found.faults.append(fault)

    def _own(self, statement: Statement) -> set[str]:
        """Outputs of a job that no other job wrote since."""
        return {p for p in statement.outputs if self.made_by.get(p, statement) is statement}

    def _name(self, statement: Statement) -> str:
        """The output of a job that is spoken of."""
        return min(self.names & statement.outputs.keys(), default=min(statement.outputs))


def verify_crate(root: Path, digests: FileDigests | None = None) -> Verification:
    """Check an unpacked crate: its files against its metadata and seal, and its own records.

    The metadata say what the files are, the seal lists all of them, the metadata included; where
    only the two could tell which is altered, both are named.
    """
    digests = digests or FileDigests()
    found = digests.of(root / CRATE_FILE)
    try:
        sealed = read_seal(root)
    except AtlasError as error:
        return Verification(1, faults=[Fault("artefact", SEAL, str(error))])
    if sealed.get(CRATE_FILE) != found:
        what = "do not fit each other"
        return Verification(2, faults=[
            Fault("artefact", CRATE_FILE, f"and {SEAL} {what}", sealed.get(CRATE_FILE), found),
            Fault("artefact", SEAL, f"and {CRATE_FILE} {what}"),
        ])  # fmt: skip
    checked = verify(Records(root), digests=digests)
    listed = {f.path: f.sha256 for f in crate_files(read_json(root / CRATE_FILE)) if f.included}
    named = {fault.file for fault in checked.faults}
    there = {
        f.relative_to(root).as_posix() for f in root.rglob("*") if not f.is_dir() or f.is_symlink()
    }
    there -= {SEAL, MANIFEST, SIGNATURE}
    digests.read(root / name for name in there)
    doubted = None
    for name in sorted({*listed, *sealed, *there} - named):
        found, expected = digests.of(root / name), listed.get(name, sealed.get(name))
        if found and found == expected == sealed.get(name):
            continue
        if name not in listed or found == expected:
            doubted = doubted or name
        kind: Kind = "artefact"
        sentence = "is not what the crate was made with"
        if expected is None:
            kind = "unattested"
            sentence = "is not among the files that the crate was sealed with"
        elif found is None:
            kind, sentence = "missing", "is missing from the crate"
        if found != expected or not found:
            checked.faults.append(Fault(kind, name, sentence, expected, found))
    if doubted:
        checked.faults.append(Fault("artefact", SEAL, f"does not fit {doubted}"))
    checked.bytes = digests.bytes
    return checked


def _touched(run: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a run notes of the files that it touched; anybody may have written its record."""
    told = run.get("touched")
    for name, entry in told.items() if isinstance(told, dict) else ():
        causes = entry.get("otherwise") if isinstance(entry, dict) else None
        if isinstance(causes, list) and all(isinstance(c, list) and len(c) == 4 for c in causes):
            yield name, {"statement": entry.get("statement"), "otherwise": causes}
