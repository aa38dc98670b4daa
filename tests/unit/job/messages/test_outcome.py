from __future__ import annotations

import csv

import pytest

from atlas.job.messages import outcome
from atlas.plan.building import build
from unit.plan.small_plans import two_domains

TABLE = "results/tables/t.csv"
NAVIGATOR = "results/pools/p/navigator.html"
FIGURES = {
    f"results/pools/p/figures/{kind}_delta_activations.svg" for kind in ("map", "silhouette")
}
BESIDE = {"results/pools/p/silhouette.csv", "results/pools/p/neighbours.csv"}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A main table of the pool p, and what its findings are read from."""
    monkeypatch.chdir(tmp_path)

    def write(file, **row):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        with (tmp_path / file).open("w") as handle:
            writer = csv.DictWriter(handle, row)
            writer.writeheader()
            writer.writerow(row)

    space = {"space": "delta_activations", "distance": "cosine_clipped"}
    write(TABLE, **space, pool="p", silhouette=0.5, published="")
    write(
        "results/pools/p/silhouette.csv", **space, label="domain", low=0.4, high=0.6, p_value=0.01
    )
    write("results/pools/p/neighbours.csv", **space, rank=1, domain="a", neighbour_domain="a")


def plan(*names):
    return build(two_domains(tables={name: {"pools": ["p"]} for name in names}))


def test_a_table(results):
    assert outcome.told(plan("t"), {TABLE}, {TABLE, NAVIGATOR, *FIGURES, *BESIDE}) == [
        "* The domains of `p` stand weakly apart by delta activations (silhouette 0.500, 95 % interval 0.400 "
        "to 0.600, which excludes 0, p = 0.010).",
        "* The nearest neighbour of a model of `p` has its domain for 1 of 1 by delta activations.",
        f"Open in a browser: {NAVIGATOR}",
        "Tables: results/tables/t.md",
        "Figures: results/pools/p/figures/",
    ]  # fmt: skip


def test_a_table_without_the_files_of_its_findings(results):
    assert outcome.told(plan("t"), {TABLE}, {TABLE}) == ["Tables: results/tables/t.md"]


def test_the_summary_stands_for_tables_and_their_pages(results):
    targets = {TABLE, "results/summary.html"}
    *found, page = outcome.told(plan("t"), targets, {*targets, NAVIGATOR, *FIGURES, *BESIDE})
    assert len(found) == 2
    assert page == "Open in a browser: results/summary.html"


def test_of_many_tables_no_findings_are_said(results):
    names = [f"t{n}" for n in range(5)]
    targets = {f"results/tables/{name}.csv" for name in names}
    assert outcome.told(plan(*names), targets, {*targets, *BESIDE}) == [
        "Tables: results/tables/t0.md, results/tables/t1.md, results/tables/t2.md and 2 more"
    ]


def test_pages_and_files_that_were_asked_for():
    assert outcome.told(plan("t"), {NAVIGATOR}, {NAVIGATOR}) == [f"Open in a browser: {NAVIGATOR}"]
    assert outcome.told(plan("t"), {"results/models/m/x"}, {"results/models/m/x"}) == []
