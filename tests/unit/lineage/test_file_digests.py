from __future__ import annotations

import os

from atlas.lineage.file_digests import FileDigests
from unit.job.runs import A, B, C, sha


def test_hard_links_are_read_once(chain):
    os.link(chain / C, chain / "results/models/copy.txt")
    digests = FileDigests()
    digests.read([chain / C, chain / "results/models/copy.txt", chain / A, chain / "no/such"])
    assert digests.bytes == len("c" + "a")
    assert digests.of(chain / "results/models/copy.txt") == sha("c")
    assert digests.of(chain / B) == sha("b")
    assert digests.of(chain / "no/such") is None
    assert digests.of(chain / "results") is None
    assert digests.bytes == len("c" + "a" + "b")
