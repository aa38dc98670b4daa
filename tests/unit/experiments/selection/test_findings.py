from __future__ import annotations

from atlas.experiments.selection.findings import findings
from unit.experiments.finding_rows import rows


def test_selection_in_both_directions():
    def of(strategy, method, value, low, high, seeds=5, published=None, task="mean"):
        return {"selection": "s", "task": task, "strategy": strategy, "method": method,
                "exact_match": value, "low": low, "high": high, "seeds": seeds, "majority": 0.4,
                "published": published}  # fmt: skip

    found = findings(rows(
        of(None, "base", 0.1, 0.1, 0.1, None), of("random", "lorahub", 0.3, 0.25, 0.35),
        of("similar", "lorahub", 0.5, 0.45, 0.55, published=0.303),
        of("similar+random", "lorahub", 0.42, 0.35, 0.49), of("random", "ties", 0.2, 0.2, 0.2, 1),
        of("random", "lorahub", 0.3, 0.3, 0.3, task="t"),
    ), {})  # fmt: skip
    assert found[0] == (
        "Models of `s` chosen by `similar` and composed answer 50.0 % (95 % interval over seeds 45.0 "
        "to 55.0) of 1 task exactly; published: 30.3, lower, more than the commonest answer alone "
        "(40.0 %)."
    )
    assert "not told apart from the commonest answer alone" in found[1]
    assert "less than the commonest answer alone" in found[2]
    assert found[3] == "In `s`, `similar` is ahead of `random`, and their intervals do not overlap."
    assert found[4] == "Without composing, the exact match in `s` is base 10.0 %."
    assert found[5].endswith("with 20.0 % (one seed, no interval).")
    close = findings(rows(of("random", "lorahub", 0.3, 0.2, 0.4),
                                    of("similar", "lorahub", 0.35, 0.25, 0.45)), {})  # fmt: skip
    assert close[-1].endswith("but their intervals overlap: the order is uncertain.")
