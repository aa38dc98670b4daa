"""What verifications find."""

from __future__ import annotations

from atlas.lineage.verify import verify


def found(run, files=None):
    """What a verification finds: (kind, file, first, behind)."""
    report = verify(run.records, files)
    assert report.broken == [f for f in report.faults if f.first]
    return {(f.kind, f.file, f.first, f.behind) for f in report.faults}


def the_one(run, files=None):
    (fault,) = verify(run.records, files).faults
    return fault
