from __future__ import annotations

from atlas.experiments.silhouettes.findings import findings
from unit.experiments.finding_rows import silhouette


def test_pools_side_by_side():
    def of(values, width):
        return findings([
            {**silhouette(value, value - width, value + width, 0.001), "pool": pool, "distance": kind}
            for pool, value in values.items() for kind in ("cosine", "cosine_clipped")
        ], {})  # fmt: skip

    text = "By delta activations, the domains of `b` stand apart most (0.700), those of `a` least (0.300)"
    found = of({"a": 0.3, "b": 0.7}, 0.1)
    assert len(found) == 3
    assert found[-1] == f"{text}; their intervals do not overlap."
    unsure = of({"a": 0.3, "b": 0.7}, 0.25)
    assert unsure[-1] == f"{text}, but their intervals overlap: the order is uncertain."
    alike = of({"a": 0.3, "b": 0.3001}, 0.1)
    assert alike[-1] == "By delta activations, the domains of all pools stand apart alike (0.300)."


def test_seeds_are_told_by_their_mean():
    table = [{**silhouette(value, seed=seed), "pool": "a", "distance": "cosine_clipped"}
             for seed, value in ((1, 0.3), (2, 0.5), ("mean", 0.4), ("spread", 0.14))]  # fmt: skip
    (found,) = findings(table, {})
    assert "silhouette 0.400, mean over seeds" in found
