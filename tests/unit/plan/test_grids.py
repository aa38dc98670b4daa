"""Grids: the models that they generate, and mistakes in them."""

from __future__ import annotations

import pytest

from atlas.plan.building import build
from unit.plan.small_plans import GRID, refused, two_domains


def test_a_grid_generates_models():
    plan = build(two_domains(grids__g=GRID))
    made = plan.models["tiny-e-second"]
    assert set(plan.models) == {"m", "n", "tiny-d-first", "tiny-d-second", "tiny-e-first",
                                "tiny-e-second"}  # fmt: skip
    assert (made.data[0].dataset, made.data[0].split, made.data[0].rows) == ("e", "second", 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "x-{split}"}, "grids.g.name: 'x-first' is generated twice"),
        ({"name": "{spilt}"}, "no placeholder 'spilt'; did you mean 'split'"),
        ({"name": "{data.sett}"}, "{data.sett} has no value"),
        ({"name": "a b {data.set} {split}"}, "'a b d first' is not a name"),
        ({"name": "{data.set}-{split}\n"}, r"'d-first\\n' is not a name"),
        (
            {"lists": {name: list(range(1000)) for name in "abcdefgh"}},
            "grids.g.lists: make 1,000,000,000,000,000,000,000,000 models; a grid makes at most 1,000,000",
        ),
        ({"model": {"base": "tiny", "recipe": "r", "dta": []}}, "unknown key 'dta'.*'data'"),
    ],
)
def test_mistakes_in_grids(changes, message):
    refused(message, grids__g={**GRID, **changes})


def test_a_name_has_one_definition():
    clash = {**GRID, "name": "m", "lists": {k: v[:1] for k, v in GRID["lists"].items()}}
    refused("grids.g: generates the model 'm', which is defined differently", grids__g=clash)
