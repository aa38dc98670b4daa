from __future__ import annotations

from atlas.experiments.additive.findings import findings
from unit.experiments.finding_rows import rows


def test_additivity():
    pair = {"first": "a", "second": "b", "seed": 42}
    none = dict.fromkeys(
        ("published_cosine_first", "published_cosine_second", "published_cosine_sum")
    )
    good = {**pair, **none, "cosine_first": 0.5, "cosine_second": 0.6, "cosine_sum": 0.9}
    bad = {**good, "second": "c", "cosine_first": 1.0, "published_cosine_first": 0.1,
           "published_cosine_second": 0.2, "published_cosine_sum": 0.3}  # fmt: skip
    found = findings(rows(good, bad), {})
    assert "in 1 of 2 pairs of domains; its mean cosine is 0.90 with the sum and 0.80" in found[0]
    assert found[1] == "It is not so for a with c."
    assert (
        found[2] == "Of the 1 pair that the paper has, the sum is closest in 0 here and in 1 there."
    )
    assert len(findings(rows(good), {})) == 1
