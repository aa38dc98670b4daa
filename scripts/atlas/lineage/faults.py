"""What a verification finds broken."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["artefact", "input", "code", "missing", "unattested", "statement", "history",
               "signature", "touched", "withdrawn"]  # fmt: skip


@dataclass
class Fault:
    """One broken link.

    :param kind: what differs from its attestation, or is missing, has none, or was altered.
    :param expected, found: SHA-256, or digest of a syntax tree for code.
    :param first: no link before it on its chain is broken.
    :param behind: number of artefacts that stand on it.
    """

    kind: Kind
    file: str
    sentence: str
    expected: str | None = None
    found: str | None = None
    job: str | None = None
    first: bool = True
    behind: int = 0


@dataclass
class Verification:
    """What a verification looked at and found.

    :param files, bytes, statements: how many it read.
    :param names: the artefacts that it looked at.
    :param absent: files that are not there because the configuration does not keep them.
    :param elsewhere: files that a crate knows by address and digest only, and that are not there.
    """

    files: int = 0
    bytes: int = 0
    statements: int = 0
    names: list[str] = field(default_factory=list, repr=False)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[Fault]:
        """The first broken link of each chain."""
        return [fault for fault in self.faults if fault.first]

    def add(self, other: "Verification") -> None:
        """Take over what another verification looked at and found."""
        self.files += other.files
        self.statements += other.statements
        self.faults += other.faults
        self.notes = list(dict.fromkeys([*self.notes, *other.notes]))
        self.absent += other.absent
        self.elsewhere += other.elsewhere

    def plain(self) -> dict[str, Any]:
        """The verification as JSON values."""
        found = asdict(self)
        found.pop("names")
        return {"findings" if key == "faults" else key: value for key, value in found.items()}
