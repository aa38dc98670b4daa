from __future__ import annotations

from atlas.experiments.instruct.findings import findings
from unit.experiments.finding_rows import checkpoint


def test_what_a_delta_keeps():
    better = findings([
        *checkpoint("m", "perplexity", "t", base=30, instruct=29, model=20, merged=22),
        *checkpoint("m", "chat_loss", "c", base=3, instruct=1, model=2.5, merged=1.2),
        *checkpoint("m", "chat_loss", "e", base=3, instruct=1, model=1.5, merged=1.8),
    ], {})  # fmt: skip
    assert better[0] == (
        "The perplexity of `t` falls from 30.0 to 20.0 from the base to `m`; with the delta `d` it is "
        "22.0, which keeps 80 % of the gain."
    )
    assert better[1] == (
        "The loss of the answers of `m` falls from 2.00 to 1.50 with the delta `d`, mean over 2 "
        "datasets; it is lower in 1 of them. The instruct model has 1.00."
    )
    assert "no interval" in better[2]
    lost = findings(
        checkpoint("m", "perplexity", "t", base=30, instruct=29, model=20, merged=31), {}
    )
    assert "nothing of the gain is left" in lost[0]
    worse = findings(
        checkpoint("m", "perplexity", "t", base=30, instruct=29, model=33, merged=31), {}
    )
    assert worse[0].startswith("The perplexity of `t` rises from 30.0 to 33.0")
    assert "gain" not in worse[0]
