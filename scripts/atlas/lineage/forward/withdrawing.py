"""Things withdrawn, and undone, by notices that stay."""

from dataclasses import asdict, dataclass
from typing import Any

from atlas.errors import AtlasError
from atlas.job.withdrawn import notices
from atlas.job.withdrawn.notices import Notice
from atlas.job.withdrawn.things import Thing
from atlas.lineage.forward.affected import affected
from atlas.lineage.forward.index import AtHand


@dataclass
class Listed:
    """A notice as it stands.

    :param hanging: artefacts that are here and hang on what it withdraws; none: it is met.
    """

    notice: Notice
    hanging: int

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.notice.undone is not None:
            return f"undone: {self.notice.undone}"
        return f"{self.hanging} artefacts hang on it" if self.hanging else "met"

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        thing = self.notice.thing.plain()
        return asdict(self.notice) | {"thing": thing, "hanging": self.hanging, "state": self.state}


def withdraw(records: AtHand, thing: Thing, reason: str | None) -> str:
    """Write a notice.

    :returns: its id.
    :raises AtlasError: without a reason, in a crate, and where the same is withdrawn already.
    """
    said = _reason(records, reason)
    if same := [n for n in notices.read(records.root) if n.undone is None and n.thing == thing]:
        raise AtlasError(f"{thing.what}: is withdrawn already, by the notice {same[0].id}.")
    return notices.write(records.root, {"thing": thing.plain(), "reason": said})


def undo(records: AtHand, notice: str, reason: str | None) -> str:
    """Write a notice that undoes another.

    :returns: its id.
    :raises AtlasError: without a reason, in a crate, and where there is no such notice to undo.
    """
    said = _reason(records, reason)
    open_ones = [n.id for n in notices.read(records.root) if n.undone is None]
    if notice not in open_ones:
        there = ", ".join(open_ones) or "none"
        raise AtlasError(f"{notice}: is no notice that could be undone; such are: {there}.")
    return notices.write(records.root, {"undoes": notice, "reason": said})


def _reason(records: AtHand, reason: str | None) -> str:
    if not (reason and reason.strip()):
        raise AtlasError("a notice gives its reason; add --reason and a sentence.")
    if records.is_crate:
        raise AtlasError(
            f"{records.root}: is a crate, which is not changed; withdraw where it was made."
        )
    return reason.strip()


def listed(records: AtHand) -> list[Listed]:
    """All notices, the newest first."""
    found = notices.read(records.root)
    return [Listed(n, 0 if n.undone is not None else len(affected(records, n.thing).holding))
            for n in reversed(found)]  # fmt: skip
