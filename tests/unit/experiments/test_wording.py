from __future__ import annotations

import pytest

from atlas.experiments import wording as say


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.674, 2, "0.67"), (-0.04, 2, "−0.04"), (-0.004, 2, "0.00"), (0, 1, "0.0"), (-1.5, 0, "−2")],
)
def test_numbers(value, digits, text):
    assert say.number(value, digits) == text


def test_phrases():
    assert say.listed(["a"]) == "a"
    assert say.listed(["a", "b", "c"]) == "a, b and c"
    assert say.counted(1, "query", "queries") == "1 query"
    assert say.counted(1200, "query", "queries") == "1,200 queries"
    assert say.percent(0.125) == "12 %"
    assert say.interval(-0.1, 0.2) == "95 % interval −0.10 to 0.20, which includes 0"
    assert say.interval(0.1, 0.2) == "95 % interval 0.10 to 0.20, which excludes 0"
    assert say.interval(-0.0004, 0.0003, 3) == "95 % interval −0.0004 to 0.0003, which includes 0"
    assert say.interval(0.5001, 0.5003) == "95 % interval 0.5001 to 0.5003, which excludes 0"
    assert say.interval(0.0, 0.0, 3) == "95 % interval 0.000 to 0.000, which includes 0"
    assert say.moved(2.0, 1.5) == "falls from 2.00 to 1.50"
    assert say.moved(1.5, 2.0, 1) == "rises from 1.5 to 2.0"
    assert say.moved(1.501, 1.499) == "stays at 1.50"
    assert say.against(0.68, None) == ""
    assert say.against(0.68, 0.61) == "; published: 0.61, lower"
    assert say.against(0.39, 0.57) == "; published: 0.57, higher"
    assert say.against(0.611, 0.61) == "; published: 0.61, as here"
    assert say.overlap((0, 1), (1, 2))
    assert not say.overlap((0, 0.9), (1, 2))
