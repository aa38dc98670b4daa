from __future__ import annotations

import pytest

from atlas.activations.generation import greedy
from atlas.errors import AtlasError
from atlas.files import read_csv, write_jsonl
from atlas.geometry.correctness import COLUMNS, is_correct, measure_answers
from atlas.geometry.linear_probes import correct_answers
from atlas.networks.tokens import Tokens
from unit.conftest import load


@pytest.mark.parametrize(
    ("answer", "truth", "rule", "right"),
    [
        (" 12. And 3 + 4 is 7.", " 12", "first_number", True),
        (" 12. And 3 + 4 is 7.", " 12", "last_number", False),
        ("so it is 1,234.0 apples", "5 + 9 ... #### 1234", "last_number", True),
        (" -7", "7", "first_number", False),
        ("none", "7", "first_number", False),
        (" paris\nis it", "Paris", "first_line", True),
        ("Paris, I think", "Paris", "first_line", False),
        ("", "Paris", "first_line", False),
    ],
)
def test_what_is_correct(answer, truth, rule, right):
    assert is_correct(answer, truth, rule) == right


def test_a_truth_without_a_number():
    with pytest.raises(AtlasError, match="the answer 'Paris' has no last number, by which"):
        is_correct("7", " Paris", "last_number")


def test_the_file(tiny_base, mixed_pool, tmp_path):
    """What the model writes, not its base; each against its own row."""
    rows = [{"prompt": f"{i} and {i}?", "completion": f" {2 * i}"} for i in range(4)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    for model in ([], mixed_pool["full"]):
        measure_answers(
            prompts=tmp_path / "rows.jsonl", base=tiny_base, model=model, base_names=["tiny"],
            dtype="float32", most=3, new_tokens=5, rule="first_number", answers=tmp_path / "a.csv",
        )  # fmt: skip
        found = read_csv(tmp_path / "a.csv")
        assert tuple(found[0]) == COLUMNS
        network, tokens = load((model or tiny_base)[0].parent), Tokens(tiny_base[0].parent)
        written = greedy(network, tokens, [tokens.prompt(r["prompt"]) for r in rows[:3]], 5)
        assert [r["answer"] for r in found] == written
        assert [r["truth"] for r in found] == [" 0", " 2", " 4"]
        expected = [
            is_correct(a, t["completion"], "first_number")
            for a, t in zip(written, rows[:3], strict=True)
        ]
        assert correct_answers(tmp_path / "a.csv").tolist() == expected
