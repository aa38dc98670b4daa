"""Whether labels stand apart: both directions, with and without intervals."""

from __future__ import annotations

from atlas.experiments.silhouette_findings import stands_apart
from unit.experiments.finding_rows import silhouette


def test_a_silhouette_is_said_by_its_sign_and_its_uncertainty():
    sure = stands_apart("p", silhouette(0.674, 0.57, 0.78, 0.001, published=0.645))
    assert sure == (
        "The domains of `p` stand clearly apart by delta activations (silhouette 0.674, 95 % interval 0.570 "
        "to 0.780, which excludes 0, p = 0.001; published: 0.645, lower)."
    )
    assert "do not stand apart" in stands_apart("p", silhouette(-0.2, -0.3, -0.1, 0.01))
    unsure = stands_apart("p", silhouette(0.02, -0.11, 0.16, 0.5))
    assert unsure.startswith(
        "Whether the domains of `p` stand apart by delta activations is uncertain"
    )
    assert unsure.endswith(
        ": the interval includes 0 and random labels do as well in 50 % of the cases."
    )
    few = stands_apart("p", silhouette(0.9, 0.89, 0.91, 0.345))
    assert few.endswith(": random labels do as well in 34 % of the cases.")
    assert "interval includes" not in few
    bare = stands_apart("p", silhouette(0.5, seed="mean"))
    assert bare == (
        "The domains of `p` stand weakly apart by delta activations (silhouette 0.500, mean over seeds)."
    )
    # What hardly differs from 0 does not stand apart as 0.674 does, however sure it is.
    little = stands_apart("p", silhouette(0.016, 0.01, 0.02, 0.001))
    assert little.startswith(
        "The domains of `p` hardly stand apart by delta activations (silhouette 0.016"
    )
    tiny = stands_apart("p", silhouette(-0.00025, -0.00069, 0.00021, 0.5))
    assert "(silhouette −0.0003, 95 % interval −0.0007 to 0.0002, which includes 0" in tiny
    none = stands_apart("p", silhouette(None, reason="the models are of mixed kinds", label="base"))
    assert none == (
        "Nothing is known of the bases of `p` by delta activations: the models are of mixed kinds."
    )
