from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.sources.generated_rows import generated_rows
from atlas.sources.raw_rows import fetch_rows
from atlas.training.rewards import answer_of, reward

SUMS = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1, "operators": ["+"],
        "allow_negation": False, "allow_parentheses": False}  # fmt: skip


@pytest.mark.parametrize(("completion", "how", "expected"), [
    ("so 3 and then 1,234.5.", "last_number", "1234.5"),
    ("so -3 and then 4", "first_number", "-3"),
    ("nothing", "last_number", None),
    ("\n 7 \nmore", "first_line", "7"),
    ("  \n ", "first_line", None),
    (" all of it ", "text", "all of it"),
    ("", "text", None),
    ("<answer>1</answer> or <answer> 2\n</answer>", "tag", "2"),
    ("<answer>1", "tag", None),
])  # fmt: skip
def test_the_answer_within_a_completion(completion, how, expected):
    assert answer_of(completion, how) == expected


@pytest.mark.parametrize(("completion", "earned"), [
    ("It is 72.", 1.0), ("#### 72", 1.0), ("72.0", 1.0), ("73", 0.0), ("none", 0.0),
    ("72 is 5 more than 67", 0.0),
])  # fmt: skip
def test_a_number_against_the_end_of_a_rationale(completion, earned):
    entry = {"doc": {"answer": "48 / 2 = 24, and 48 + 24 = 72.\n#### 72"}}
    assert reward(completion, entry, "number", "last_number", "doc.answer") == earned


def test_a_reference_without_a_number_is_an_error():
    with pytest.raises(AtlasError, match="has no number in 'answer'"):
        reward("1", {"answer": "yes"}, "number", "last_number", "answer")


@given(st.integers(0, 49), st.integers(-30, 30))
def test_the_task_grades_what_it_generated(number, given_answer):
    entry = json.loads(json.dumps(list(generated_rows("basic_arithmetic", 3, 50, SUMS))[number]))
    left, right = entry["metadata"]["expression"].split(" + ")
    earned = reward(f"that is {given_answer}", entry, "reasoning_gym", "last_number", "answer")
    truth = int(left) + int(right)
    assert (earned == 1.0) == (given_answer == truth)
    assert reward(f" {truth}", entry, "reasoning_gym", "last_number", "answer") == 1.0


def test_a_row_of_another_source_is_an_error():
    with pytest.raises(AtlasError, match="does not name a reasoning_gym task"):
        reward("1", {"answer": "1"}, "reasoning_gym", "text", "answer")


def test_equal_settings_make_equal_problems(tmp_path):
    written = []
    for run in ("a", "b"):
        rows, record = tmp_path / f"{run}.jsonl", tmp_path / f"{run}.json"
        source = {"reasoning_gym": {"task": "basic_arithmetic", "rows": 60, "seed": 1,
                                    "config": SUMS}}  # fmt: skip
        fetch_rows(name="sums", source=source, where={}, between={}, unique="question", duplicates="drop",
                   licence="apache-2.0", cache="none", rows=rows, record=record)  # fmt: skip
        written.append((rows.read_bytes(), record.read_bytes()))
    assert written[0] == written[1]
    found = [json.loads(line) for line in written[0][0].splitlines()]
    assert len({row["question"] for row in found}) == len(found) < 60
    assert json.loads(written[0][1])["origin"] == source


@pytest.mark.parametrize(("task", "config", "sentence"), [
    ("basic_arithmetics", {}, "did you mean 'basic_arithmetic'"),
    ("basic_arithmetic", {"terms": 2}, "the settings are not taken.*terms"),
    ("basic_arithmetic", {"min_terms": 3, "max_terms": 2}, "the settings are not taken.*max_terms"),
])  # fmt: skip
def test_what_the_generator_does_not_know(task, config, sentence):
    with pytest.raises(AtlasError, match=sentence):
        list(generated_rows(task, 0, 3, config))
