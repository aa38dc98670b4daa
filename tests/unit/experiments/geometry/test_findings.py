from __future__ import annotations

import pytest

from atlas.experiments.geometry.findings import findings
from unit.experiments.finding_rows import rows

DECIDED = {"comparison": "c", "rl": "a, b", "sft": "d, e", "measure": "decision",
           "rl_mean": 0.9, "sft_mean": 0.8, "difference": 0.1,
           "low": 0.05, "high": 0.15, "decision": "strong", "reason": "", "reward_slope": 0.01,
           "reward_low": 0.005, "reward_high": 0.02, "reward_steps": 40, "reward_reason": ""}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "first", "second"),
    [
        ({}, "rewards keep more of", "the mean reward rises: 0.0100 per step over 40 steps"),
        ({"difference": -0.1, "low": -0.15, "high": -0.05, "reward_slope": -0.01, "reward_low": -0.02,
          "reward_high": -0.005}, "rewards keep less of", "the mean reward falls: −0.0100"),
        ({"low": -0.05, "reward_low": -0.01}, "is uncertain (", "Whether the mean reward changes"),
        ({"reason": "one side is empty", "reward_slope": None, "reward_reason": "none is trained here"},
         "nothing can be said of subspaces: one side is empty.", "no slope of the rewards: none is"),
    ],
)  # fmt: skip
def test_geometry(changed, first, second):
    kept, reward = findings(rows({**DECIDED, **changed}), {})
    assert first in kept
    assert second in reward


def test_one_model_of_a_side_is_said_to_be_one():
    found = findings(rows({**DECIDED, "rl": "a"}), {})
    assert found[2].startswith("`c` has 1 model trained with rewards and 2 fine-tuned on solutions")
