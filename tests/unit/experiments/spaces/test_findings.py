from __future__ import annotations

from atlas.experiments.spaces.findings import findings
from unit.experiments.finding_rows import silhouette


def test_layers_and_probes():
    def curve(values, kind):
        return [{**silhouette(v, pool="p", curve=kind), "value": str(k)} for k, v in values.items()]

    table = [{**silhouette(0.8, 0.7, 0.9, 0.001, pool="p", curve="space"), "value": ""}]
    table += [*curve({1: 0.49, 22: 0.7, 30: 0.68}, "layer"), *curve({1: 0.674, 5: 0.68}, "probes")]
    found = findings(table, {})
    assert found[0].startswith("The domains of `p` stand clearly apart")
    assert found[1].endswith("read at layer 22 (silhouette 0.700); the last, 30, gives 0.680.")
    assert found[2].endswith("a silhouette of 0.674 with 1 probe and of 0.680 with 5.")
    (last,) = findings(curve({1: 0.1, 2: 0.3}, "layer"), {})
    assert last.endswith("read at the last layer, 2 (silhouette 0.300).")
