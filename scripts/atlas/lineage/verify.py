"""Is every artefact what its attestation says, back to the sources?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from atlas.errors import AtlasError
from atlas.files import read_json
from atlas.job.attempts import ATTEMPTS, HISTORY, history_lines
from atlas.job.closures import modules_behind
from atlas.job.records import CRATE_FILE, MANIFEST, SEAL, SIGNATURE, BrokenRecordError, Records
from atlas.job.statements import RESULTS, Statement
from atlas.lineage.crate_files import crate_files, read_seal
from atlas.lineage.findings import Digests, Finding, Kind, Report


def verify(
    records: Records, files: Iterable[str] | None = None, digests: Digests | None = None
) -> Report:
    """Check artefacts and all that stands behind them.

    :param files: paths of artefacts; None for everything below results/, crates included.
    """
    check = _Check(records, digests or Digests())
    everything = files is None
    names = sorted({*records.artefacts(), *records.attested()}) if files is None else list(files)
    check.collect(names)
    check.hash()
    for name in sorted(check.names):
        check.artefact(name)
    for statement in check.statements.values():
        check.inputs(statement)
        check.code(statement)
    check.rank()
    if everything:
        check.records_themselves()
        check.crates()
    report = check.report
    report.findings.sort(key=lambda f: (not f.first, f.file, f.kind))
    report.names = sorted(check.names)
    report.files, report.bytes = len(check.names), check.digests.bytes
    report.statements = len(check.statements)
    return report


class _Check:
    def __init__(self, records: Records, digests: Digests) -> None:
        self.records = records
        self.digests = digests
        self.report = Report()
        self.names: set[str] = set()
        self.statements: dict[str, Statement] = {}
        self.made_by: dict[str, Statement] = {}
        self.bad_files: set[str] = set()
        self.bad_jobs: set[str] = set()
        metadata = records.root / CRATE_FILE
        crate = crate_files(read_json(metadata)) if metadata.is_file() else []
        self.elsewhere = {file.path: file.sha256 for file in crate if not file.included}
        self.has_code = (records.root / "scripts" / "atlas").is_dir()
        if not self.has_code:
            self.report.notes.append("there are no scripts beside results/: code was not compared")

    def add(self, finding: Finding) -> None:
        self.report.findings.append(finding)

    def collect(self, names: list[str]) -> None:
        """All artefacts behind the names, and the statements that made them."""
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
                self.add(Finding("statement", name, f"its attestation is broken: {error}"))
                continue
            if made is None:
                continue
            self.made_by[name] = made
            self.statements[made.digest] = made
            queue += [path for path in made.inputs if path.startswith(f"{RESULTS}/")]

    def hash(self) -> None:
        outside = {p for s in self.statements.values() for p in s.inputs if p not in self.names}
        self.digests.read(self.records.path(name) for name in {*self.names, *outside})

    def artefact(self, name: str) -> None:
        """One artefact against its attestation."""
        if name in self.bad_files:
            return
        made, found = self.made_by.get(name), self.digests.of(self.records.path(name))
        if made is None:
            self.bad_files.add(name)
            sentence = "is missing, and so is its attestation" if found is None else (
                "has no attestation: no job of this workflow made it"
            )  # fmt: skip
            kind: Kind = "missing" if found is None else "unattested"
            self.add(Finding(kind, name, sentence, found=found))
            return
        expected = made.outputs[name]
        if found is None and self.elsewhere.get(name) == expected:
            return
        if found is None and name in made.temporary:
            self.report.absent.append(name)
            return
        if found != expected:
            self.bad_files.add(name)
            sentence = (
                f"is missing; make it again, or remove {self._pointer(name)} if it is not wanted"
                if found is None
                else f"is not what {made.rule} made: SHA-256 {found[:12]}…, attested {expected[:12]}…"
            )
            kind = "missing" if found is None else "artefact"
            self.add(Finding(kind, name, sentence, expected, found, made.job))

    def inputs(self, statement: Statement) -> None:
        """What a job read against what made it, or against the file outside results/."""
        for path, expected in statement.inputs.items():
            inside = path.startswith(f"{RESULTS}/")
            if inside and path not in self.made_by:
                continue  # missing, unattested or broken: said of the file itself
            found = (
                self.made_by[path].outputs[path]
                if inside
                else self.digests.of(self.records.path(path)) or self.elsewhere.get(path)
            )
            if found == expected:
                continue
            name = self._name(statement)
            if found is None:
                if path not in self.bad_files:
                    self.bad_files.add(path)
                    self.add(
                        Finding("missing", path, f"is missing; {name} was made from it", expected)
                    )
                continue
            self.bad_jobs.add(statement.digest)
            there = "its attestation says" if inside else "it is now"
            sentence = (
                f"was made from another {path}: SHA-256 {expected[:12]}… then, "
                f"{there} {found[:12]}…"
            )
            self.add(Finding("input", name, sentence, expected, found, statement.job))

    def code(self, statement: Statement) -> None:
        """The modules behind a job against those at hand."""
        if not self.has_code:
            return
        code = statement.code
        try:
            now, _ = modules_behind(code["function"], self.records.root / "scripts")
        except (ModuleNotFoundError, SyntaxError, ValueError) as error:
            now = {}
            self.report.notes.append(str(error))
        changed = {
            m: (code["modules"].get(m), now.get(m))
            for m in sorted({*now, *code["modules"]})
            if now.get(m) != code["modules"].get(m)
        }
        if not changed:
            return
        self.bad_jobs.add(statement.digest)
        module, (before, after) = next(iter(changed.items()))
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        self.add(
            Finding("code", self._name(statement),
                    f"was made by other code: {module}{more} changed since "
                    f"({before or 'absent'} then, {after or 'absent'} now)",
                    before, after, statement.job)
        )  # fmt: skip

    def rank(self) -> None:
        """Tell first broken links from their consequences, and count what stands on each."""
        above: dict[str, set[str]] = {}  # job -> jobs before it
        for digest, statement in self.statements.items():
            above[digest] = {
                self.made_by[path].digest for path in statement.inputs if path in self.made_by
            }
        standing: dict[str, set[str]] = {}  # job -> itself and all jobs before it

        def before(digest: str) -> set[str]:
            if digest not in standing:
                standing[digest] = {digest}  # a forged circle ends here
                standing[digest] = {digest}.union(*(before(a) for a in above[digest]))
            return standing[digest]

        tainted = {
            digest
            for digest, statement in self.statements.items()
            if any(p in self.bad_files for p in statement.inputs)
        }
        readers: dict[str, list[Statement]] = {}
        for statement in self.statements.values():
            for path in statement.inputs:
                readers.setdefault(path, []).append(statement)
        for finding in self.report.findings:
            made = self.made_by.get(finding.file)
            if made is not None:
                earlier = before(made.digest)
                finding.first = not (tainted & earlier or self.bad_jobs & (earlier - {made.digest}))
                if finding.kind == "artefact" and made.digest in self.bad_jobs:
                    finding.first = False
            finding.behind = self._standing_on(finding, readers)

    def _standing_on(self, finding: Finding, readers: dict[str, list[Statement]]) -> int:
        """Number of artefacts made, directly or not, from what a finding names."""
        made = self.made_by.get(finding.file)
        whole_job = made is not None and made.digest in self.bad_jobs
        queue = list(made.outputs) if made is not None and whole_job else [finding.file]
        start = set(queue)
        reached: set[str] = set()
        while queue:
            for reader in readers.get(queue.pop(), []):
                new = set(reader.outputs) - reached
                reached |= new
                queue += new
        return len(reached - start)

    def records_themselves(self) -> None:
        """Statements against their names, and the history against the attempts."""
        named = {f.file for f in self.report.findings}
        for path, digest in self.records.broken_statements():
            expected = Path(path).stem
            self.add(Finding("statement", path, "was altered: its bytes are not those of its name",
                             expected, digest))  # fmt: skip
        lines = history_lines(self.records.root)
        stored = self.records.root / HISTORY
        if not stored.is_file() or str(HISTORY) in named:
            return
        known = set(lines)
        kept = set(stored.read_bytes().splitlines(keepends=True))
        ended = [_ended(line) for line in kept & known]
        # What ended before the newest line did was known when it was compiled.
        lost = [x for x in known - kept if _ended(x) and _ended(x) <= max(ended, default="")]
        if lost and kept <= known:
            self.add(
                Finding("history", str(HISTORY), f"lacks {len(lost)} lines that {ATTEMPTS}/ has")
            )
        for number, line in enumerate(stored.read_bytes().splitlines(keepends=True), start=1):
            if line not in known:
                self.add(Finding("history", str(HISTORY),
                                 f"line {number} is not what {ATTEMPTS}/ says"))  # fmt: skip

    def crates(self) -> None:
        """Crates below results/: their files, and their own records."""
        for name in sorted(n for n in self.names if Path(n).name == CRATE_FILE):
            root = self.records.path(name).parent
            if not root.is_dir() or name in self.bad_files:
                continue
            inner = verify_crate(root, self.digests)
            folder = name.rpartition("/")[0]
            for finding in inner.findings:
                finding.file = f"{folder}/{finding.file}"
                self.add(finding)

    def _name(self, statement: Statement) -> str:
        """The output of a job that is spoken of."""
        return min(
            (n for n in statement.outputs if n in self.names), default=min(statement.outputs)
        )

    def _pointer(self, name: str) -> str:
        return self.records.mirror(name).relative_to(self.records.root).as_posix()


def _ended(line: bytes) -> str:
    return str(json.loads(line).get("ended", ""))


def verify_crate(root: Path, digests: Digests | None = None) -> Report:
    """Check an unpacked crate: its files against its metadata and seal, and its own records.

    The metadata say what the files are, the seal lists all of them, the metadata included; where
    only the two could tell which is altered, both are named.
    """
    digests = digests or Digests()
    digests.read([root / CRATE_FILE])
    try:
        sealed = read_seal(root)
    except AtlasError as error:
        return Report(1, findings=[Finding("artefact", SEAL, str(error))])
    found = digests.of(root / CRATE_FILE)
    if sealed.get(CRATE_FILE) != found:
        what = "do not fit each other"
        return Report(2, findings=[
            Finding("artefact", CRATE_FILE, f"and {SEAL} {what}", sealed.get(CRATE_FILE), found),
            Finding("artefact", SEAL, f"and {CRATE_FILE} {what}"),
        ])  # fmt: skip
    report = verify(Records(root), digests=digests)
    listed = {f.path: f.sha256 for f in crate_files(read_json(root / CRATE_FILE)) if f.included}
    named = {finding.file for finding in report.findings}
    there = {f.relative_to(root).as_posix() for f in root.rglob("*") if f.is_file()}
    there -= {SEAL, MANIFEST, SIGNATURE}
    digests.read(root / name for name in there)
    doubted = None
    for name in sorted({*listed, *sealed, *there} - named):
        found, expected = digests.of(root / name), listed.get(name, sealed.get(name))
        if found == expected == sealed.get(name):
            continue
        if name not in listed or found == expected:
            doubted = doubted or name
        if found is None:
            report.findings.append(Finding("missing", name, "is missing from the crate", expected))
        elif expected is None:
            what = "is not among the files that the crate was sealed with"
            report.findings.append(Finding("unattested", name, what, None, found))
        elif found != expected:
            what = "is not what the crate was made with"
            report.findings.append(Finding("artefact", name, what, expected, found))
    if doubted:
        report.findings.append(Finding("artefact", SEAL, f"does not fit {doubted}"))
    report.bytes = digests.bytes
    return report
