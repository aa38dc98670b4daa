from __future__ import annotations

import pytest

from atlas.lineage.causes import Cause, Causes, Group, changed, flatten, group, own_causes
from unit.job.runs import A, B, C, statement

JOB = {"rule": "train", "wildcards": {"model": "m"}}
WORD = "train m"


def made(outputs, inputs=None, **more):
    return statement(outputs, inputs or {}, **{**JOB, "params": {"seed": 1}, **more})


def finder(*statements):
    known = {(path, d): s for s in statements for path, d in s.outputs.items()}
    return lambda path, digest: known.get((path, digest))


def causes(before, after, earlier=(), later=()):
    return Causes(finder(*earlier), finder(*later)).of(before, after)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": {"b": 1, "c": [2, {"d": None}]}}, {"a.b": 1, "a.c.0": 2, "a.c.1.d": None}),
        ({"a": {}, "b": []}, {"a": "{}", "b": "[]"}),
        ({"a": {1: "x"}}, {"a.1": "x"}),
        ({"a": False, "b": ""}, {"a": False, "b": ""}),
    ],
)
def test_flatten(value, expected):
    assert flatten(value) == expected


def test_changed():
    found = changed({"a": 1, "b": 2, "c": None}, {"b": 3, "a": 1, "d": None})
    assert found == {"b": (2, 3), "c": (None, None), "d": (None, None)}


def test_a_parameter():
    before = made({A: "1"}, params={"recipe": {"lr": 0.1, "targets": ["q", "v"]}, "seed": 1})
    after = made({A: "2"}, params={"recipe": {"lr": 0.2, "targets": ["q"]}, "seed": 1})
    assert causes(before, after) == (
        Cause("parameter", "recipe.lr", 0.1, 0.2, WORD),
        Cause("parameter", "recipe.targets.1", "v", None, WORD),
    )


def test_the_first_parameter_of_a_rule():
    found = own_causes(made({A: "1"}, params={}), made({A: "2"}, params={"seed": 1}))
    assert found == [Cause("parameter", "seed", None, 1, WORD)]


@pytest.mark.parametrize(("old", "new"), [(1, True), (0, False), (1, 1.0)])
def test_a_parameter_of_another_type(old, new):
    found = own_causes(made({A: "1"}, params={"x": old}), made({A: "2"}, params={"x": new}))
    assert [(c.kind, c.name) for c in found] == [("parameter", "x")]


def test_a_module_a_package_and_the_rule():
    before = made({A: "1"}, modules={"lib": "d1", "old": "d"}, packages={"torch": "2.0"})
    after = made({A: "2"}, modules={"lib": "d2", "new": "d"}, packages={"torch": "2.1"},
                 function="lib.module:other")  # fmt: skip
    assert causes(before, after) == (
        Cause("rule", "rule", "train (lib.module:work)", "train (lib.module:other)", WORD),
        Cause("module", "lib", "d1", "d2", WORD),
        Cause("module", "new", None, "d", WORD),
        Cause("module", "old", "d", None, WORD),
        Cause("package", "torch", "2.0", "2.1", WORD),
    )


def test_packages_that_are_only_installed_are_no_cause():
    before = made({A: "1"}, {"raw": "r"}, distributions={"rich": "13"})
    after = made({A: "2"}, {"raw": "s"}, distributions={"rich": "14"})
    assert causes(before, after) == (Cause("input", "raw", "r", "s", WORD),)


def test_the_execution_where_nothing_else_differs():
    before = made({A: "1"}, device="cpu", host="h1", attempt="x", threads=1, python="3.11")
    after = made({A: "2"}, device="H200", host="h2", attempt="y", threads=1, python="3.12")
    assert causes(before, after) == (
        Cause("execution", "device", "cpu", "H200", WORD),
        Cause("execution", "python", "3.11", "3.12", WORD),
    )
    after = made({A: "2"}, device="cpu", host="h2", threads=1, python="3.11")
    assert causes(before, after) == (Cause("execution", "unknown", None, None, WORD),)


def test_the_execution_is_no_cause_beside_another():
    before, after = made({A: "1"}, params={"x": 1}), made({A: "2"}, params={"x": 2}, device="H200")
    assert causes(before, after) == (Cause("parameter", "x", 1, 2, WORD),)


def test_the_same_outputs_have_no_cause():
    before, after = made({A: "1"}, device="cpu"), made({A: "1"}, device="H200")
    assert causes(before, after) == ()


def two_chains(**second):
    """a -> b -> c, twice: the jobs of b differ as said, and their files with them."""
    found = []
    for number, more in ((1, {}), (2, second)):
        a = made({A: f"a{number if 'source' in more else 1}"}, {"raw": more.pop("source", "r")},
                 wildcards={"model": "a"})  # fmt: skip
        b = made({B: f"b{number}"}, a.outputs, wildcards={"model": "b"}, **more)
        found.append((a, b, made({C: f"c{number}"}, b.outputs, wildcards={"model": "c"})))
    return found


def test_a_consequence_is_no_cause():
    (a, b, c), (a2, b2, c2) = two_chains(params={"seed": 2})
    found = causes(c, c2, (a, b, c), (a2, b2, c2))
    assert found == (Cause("parameter", "seed", 1, 2, "train b"),)


def test_a_source_that_was_exchanged_is_the_cause_of_all():
    (a, b, c), (a2, b2, c2) = two_chains(source="r2")
    found = causes(c, c2, (a, b, c), (a2, b2, c2))
    assert found == (Cause("input", "raw", "r", "r2", "train a"),)


def test_causes_on_several_steps_are_all_told():
    (a, b, c), (a2, b2, c2) = two_chains(source="r2", packages={"torch": "2"})
    assert set(causes(c, c2, (a, b, c), (a2, b2, c2))) == {
        Cause("package", "torch", None, "2", "train b"), Cause("input", "raw", "r", "r2", "train a"),
    }  # fmt: skip


def test_an_input_that_nobody_attests_is_the_cause():
    (_, b, c), (a2, b2, c2) = two_chains(params={"seed": 2})
    found = causes(c, c2, (c,), (a2, b2, c2))  # the first b is not known
    assert found == (Cause("input", B, b.outputs[B], b2.outputs[B], "train c"),)


def test_a_file_more_is_the_doing_of_the_parameter_that_says_so():
    before = made({A: "1"}, {"x": "x"}, params={"files": ["x"]})
    after = made({A: "2"}, {"x": "x", "y": "y"}, params={"files": ["x", "y"]})
    assert causes(before, after) == (Cause("parameter", "files.1", None, "y", WORD),)
    after = made({A: "2"}, {"x": "x", "y": "y"}, params={"files": ["x"]})
    assert causes(before, after) == (Cause("input", "y", None, "y", WORD),)


def test_a_diamond_tells_a_cause_once():
    one, two = (made({A: a}, params={"seed": int(a)}, wildcards={"model": "a"}) for a in ("1", "2"))
    left = [made({B: "l" + a}, {A: a}, rule="left") for a in ("1", "2")]
    right = [made({"r": "r" + a}, {A: a}, rule="right") for a in ("1", "2")]
    ends = [made({C: "c" + a}, {B: "l" + a, "r": "r" + a}) for a in ("1", "2")]
    found = causes(*ends, (one, left[0], right[0]), (two, left[1], right[1]))
    assert found == (Cause("parameter", "seed", 1, 2, "train a"),)


def test_a_forged_circle_ends():
    one = [made({A: "a" + n}, {B: "b" + n}) for n in "12"]
    two = [made({B: "b" + n}, {A: "a" + n}, params={"n": n}) for n in "12"]
    found = causes(*one, (one[0], two[0]), (one[1], two[1]))
    assert found == (Cause("parameter", "n", "1", "2", WORD),)


def test_groups():
    seed = ("parameter", "seed", 1, 2)
    found = group([
        (Cause("module", "lib", "x", "y", "j1"), "f1"),
        (Cause(*seed, "j1"), "f1"), (Cause(*seed, "j2"), "f2"), (Cause(*seed, "j1"), "f2"),
        (Cause("parameter", "seed", 1, 3, "j3"), "f3"),
        (Cause("input", "z", "x", "y", "j1"), "f9"),
    ])  # fmt: skip
    assert found == [
        Group(*seed, ["j1", "j2"], ["f1", "f2"]),
        Group("input", "z", "x", "y", ["j1"], ["f9"]),
        Group("module", "lib", "x", "y", ["j1"], ["f1"]),
        Group("parameter", "seed", 1, 3, ["j3"], ["f3"]),
    ]
