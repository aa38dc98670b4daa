from __future__ import annotations

from atlas.experiments.main.findings import findings
from unit.experiments.finding_rows import NEAR, main_rows, sure_rows


def test_a_main_table_names_order_neighbours_and_published_order():
    values = {"salient_mask": 0.1, "delta_activations": 0.7}
    found = findings(
        main_rows(values, {"salient_mask": 0.133, "delta_activations": 0.645}),
        {
            "p/silhouette.csv": sure_rows(
                {"salient_mask": (0.05, 0.2), "delta_activations": (0.6, 0.8)}
            ),
            "p/neighbours.csv": NEAR,
        },
    )
    assert found[0].startswith(
        "The domains of `p` stand clearly apart by delta activations (silhouette 0.70"
    )
    assert found[2] == ("In `p`, the domains stand apart most by delta activations, then by salient "
                        "mask; their intervals do not overlap.")  # fmt: skip
    assert "is the published one: delta activations and salient mask." in found[3]
    assert found[4] == (
        "The nearest neighbour of a model of `p` has its domain for 1 of 2 by delta activations."
    )
    assert len(found) == 5


def test_another_order_than_the_published_one_and_overlapping_intervals():
    values = {"salient_mask": 0.5, "delta_activations": 0.45}
    found = findings(
        main_rows(values, {"salient_mask": 0.133, "delta_activations": 0.645}),
        {
            "p/silhouette.csv": sure_rows(
                {"salient_mask": (0.4, 0.6), "delta_activations": (0.3, 0.6)}
            ),
            "p/neighbours.csv": [],
        },
    )
    assert "so that the order of the two is uncertain" in found[2]
    assert found[3] == (
        "The order of the spaces in `p` is not the published one: here salient mask and delta "
        "activations; published delta activations and salient mask."
    )


def test_pools_have_a_mean():
    one = {"delta_activations": 0.5}
    table = [*main_rows(one), *main_rows({"delta_activations": 0.7}, pool="q"),
             *main_rows({"delta_activations": 0.6}, {"delta_activations": 0.614}, "average")]  # fmt: skip
    sure = sure_rows({"delta_activations": (0.4, 0.8)})
    beside = {f"{pool}/silhouette.csv": sure for pool in "pq"}
    beside |= {f"{pool}/neighbours.csv": [] for pool in "pq"}
    found = findings(table, beside)
    assert found[-1] == (
        "Mean silhouettes over 2 pools: delta activations 0.600, published: 0.614, higher."
    )
