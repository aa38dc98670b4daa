from __future__ import annotations

from atlas.experiments.outputs.findings import findings
from unit.experiments.finding_rows import rows


def test_outputs_are_counted():
    (found,) = findings(rows(*({"pool": "p", "model": m, "text": t}
                                       for m, t in (("a", "x"), ("a", "y"), ("b", "x")))), {})  # fmt: skip
    assert found == ("2 models wrote 3 texts to the probes, 2 of them different from one another.")
