from __future__ import annotations

from atlas.experiments.retrieval.findings import findings
from unit.experiments.finding_rows import rows


def test_retrieval():
    query = {"pool": "p", "seed": 42, "accuracy": None, "published": None}
    found = findings(rows({**query, "query": "x", "rank": 1}, {**query, "query": "y", "rank": 3},
                                    {**query, "query": "accuracy", "rank": None, "accuracy": 0.5,
                                     "published": 1.0}), {})  # fmt: skip
    assert found == [
        "In `p`, the nearest model has the domain of the examples for 50 % of 2 queries; published: "
        "1.00, higher; the first model of the domain stands at rank 3 at the latest."
    ]
