from __future__ import annotations

from atlas.experiments.temporal.findings import findings
from unit.experiments.finding_rows import checkpoint, rows


def test_periods():
    table = [*checkpoint("old", "perplexity", "t", base=30, instruct=29, model=20, merged=22),
             *checkpoint("new", "perplexity", "t", base=30, instruct=29, model=25, merged=26)]  # fmt: skip
    apart = {"pool": "p", "space": "delta_activations", "reason": ""}
    found = findings(table, {"distances": rows(
        {**apart, "delta": "", "one": "old", "other": "new", "distance": 0.2},
        {**apart, "delta": "d", "one": "old+d", "other": "new+d", "distance": 0.4},
        {**apart, "space": "salient_mask", "delta": "", "one": "old", "other": "new", "distance": "",
         "reason": "no"},
    )})  # fmt: skip
    assert found[2] == (
        "On `t`, the lowest perplexity is that of `old`: `old` 20.0 and `new` 25.0; the base has 30.0."
    )
    assert found[3] == (
        "By delta activations, the distance of `old` and `new` rises from 0.20 to 0.40 with the delta "
        "`d`."
    )
    assert len(found) == 5
