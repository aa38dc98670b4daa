from __future__ import annotations

from atlas.experiments.published import published_figures


def test_published_figures_are_those_of_one_table(published):
    assert published_figures(published, "few") == {("gemma", "accuracy"): 1.0}
