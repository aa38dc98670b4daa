from __future__ import annotations

import pytest

from atlas.experiments.geometry.findings import findings
from unit.experiments.finding_rows import rows

DECIDED = {"comparison": "c", "rl": "a, b", "sft": "d, e", "measure": "decision",
           "rl_mean": 0.9, "sft_mean": 0.8, "difference": 0.1, "low": 0.09, "high": 0.11,
           "model_low": 0.05, "model_high": 0.15, "rl_published": None, "sft_published": None,
           "decision": "strong", "reason": "", "reward_slope": 0.01,
           "reward_low": 0.005, "reward_high": 0.02, "reward_steps": 40, "reward_reason": ""}  # fmt: skip


ALONE = {"rl": "a", "model_low": None, "model_high": None}


def said(changed, ours=None):
    """Sentences of two decisions: as published, and ours."""
    both = [DECIDED | {"centring": centring} | more for centring, more in
            (("uncentred", changed), ("centred", changed if ours is None else ours))]  # fmt: skip
    return findings(rows(*both), {})


@pytest.mark.parametrize(
    ("changed", "first", "second"),
    [
        ({}, "rewards keep more of", "the mean reward rises: 0.0100 per step over 40 steps"),
        ({"difference": -0.1, "model_low": -0.15, "model_high": -0.05, "reward_slope": -0.01,
          "reward_low": -0.02, "reward_high": -0.005}, "rewards keep less of",
         "the mean reward falls: −0.0100"),
        ({"model_low": -0.05, "reward_low": -0.01}, "are not told apart in `c` by",
         "Whether the mean reward changes"),
        # Layers and tasks of one model a side are no models, however sure they are.
        (ALONE, "are not told apart in `c` by", "rises"),
        (ALONE, "one model of a side has no interval over models", "rises"),
        ({"model_low": None, "model_high": None}, "neither side varies over its models", "rises"),
        ({"reason": "one side is empty.", "reward_slope": None, "reward_reason": "none is trained here"},
         "nothing can be said of subspaces (uncentred activations, as published): one side is empty.",
         "no slope of the rewards: none is"),
    ],
)  # fmt: skip
def test_geometry(changed, first, second):
    kept, _, reward = said(changed)
    assert first in kept
    assert second in reward


def test_the_two_decisions_are_told_apart():
    as_published, ours, _ = said({}, {"decision": "weak", "model_low": -0.2, "rl_mean": 0.7})
    assert as_published == (
        "In `c`, models trained with rewards keep more of the base's subspaces than models fine-tuned on "
        "solutions (uncentred activations, as published: 0.900 against 0.800; difference 0.1000; over "
        "2 and 2 models, 95 % interval 0.0500 to 0.1500, which excludes 0); by the published rule, which "
        "counts layers and tasks, this is *strong*."
    )
    assert ours.startswith(
        "Models trained with rewards and models fine-tuned on solutions are not told"
    )
    assert "(centred activations: 0.700 against 0.800;" in ours
    assert ours.endswith("this is *weak*.")


def test_published_figures_stand_beside_the_uncentred_ones():
    first, second, _ = said({"rl_published": 0.999, "sft_published": 0.84}, {})
    assert "0.900 against 0.800; published: 0.999 against 0.840; difference" in first
    assert "published: " not in second
    assert "published: – against 0.840" in said({"sft_published": 0.84}, {})[0]
