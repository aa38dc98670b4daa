from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from atlas.configuration.datasets import Variants
from atlas.datasets.splits import make_split, split_rows
from atlas.errors import AtlasError
from atlas.files import read_jsonl, write_jsonl

THIRDS = ["first", "second", "third"]
TEMPLATE = {"task": "Answer.", "input": "Q: {{ q }}!", "completion": " {{ a }}",
            "variants": Variants().model_dump()}  # fmt: skip
# Hundredths, so that the exact product is known.
shares = st.lists(st.integers(1, 100), min_size=1, max_size=2)


@given(total=st.integers(0, 3000), hundredths=shares, parts=st.integers(1, 5))
def test_parts_cover_the_region_without_overlap(total, hundredths, parts):
    names = [f"p{i}" for i in range(parts)]
    region = [share / 100 for share in hundredths]
    end = total
    for share in hundredths:
        end = int(end * Fraction(share, 100))
    assume(end >= parts)
    found = [split_rows(total, name, region, names, "d") for name in names]
    assert [i for part in found for i in part] == list(range(end))
    assert {len(part) for part in found[:-1]} <= {end // parts}
    assert split_rows(total, "region", region, names, "d") == range(end)
    assert split_rows(total, "all", region, names, "d") == range(total)
    rest = split_rows(total, "rest", region, names, "d")
    assert rest == (range(end, total) if end < total else range(total))


@pytest.mark.parametrize(
    ("total", "region", "second"),
    [
        (7473, [0.8], range(1992, 3984)),  # gsm8k: 80 %
        (61249, [0.1], range(2041, 4082)),  # PubMedQA pqa_unlabeled: the first 10 %
        (10042, [1.0], range(3347, 6694)),  # HellaSwag: all
        (1000, [0.1, 0.8], range(26, 52)),  # opc-sft: 80 % of the first 10 %
    ],
)
def test_published_cuts(total, region, second):
    assert split_rows(total, "second", region, THIRDS, "d") == second


def test_too_few_rows():
    with pytest.raises(AtlasError, match=r"d: 3 rows give a region of 2, .*first, second, third"):
        split_rows(3, "first", [0.8], THIRDS, "d")
    assert split_rows(3, "third", [1.0], THIRDS, "d") == range(2, 3)


def split(tmp_path, rows, name="all", kind="completion", template=None, columns=None, cut=None,
          variant="own"):  # fmt: skip
    write_jsonl(tmp_path / "raw.jsonl", rows)
    out, counts = tmp_path / "out.jsonl", tmp_path / "counts.json"
    make_split(
        dataset="d", raw=tmp_path / "raw.jsonl", split=name, variant=variant, kind=kind,
        columns=columns or {"q": "doc.q", "a": "a"}, template={**TEMPLATE, **(template or {})},
        region=[1.0], parts=THIRDS, most=None, cut=cut, rows=out, counts=counts,
    )  # fmt: skip
    return read_jsonl(out), json.loads(counts.read_text())


ROWS = [{"doc": {"q": f"q{i}"}, "a": f"a{i}"} for i in range(6)]


def test_rows_as_text_and_by_their_raw_line(tmp_path):
    found, counts = split(tmp_path, ROWS, "second")
    assert [row["row"] for row in found] == [2, 3]
    assert found[0] == {
        "row": 2, "cuttable": None, "completion": " a2",
        "prompt": "Below is an instruction that describes a task. Write a response that "
        "appropriately completes the request.\n\n### Instruction:\nAnswer. Input:Q: q2!\n\n"
        "### Response:",
    }  # fmt: skip
    assert (counts["rows_raw"], counts["rows_in_split"], counts["rows"]) == (6, 2, 2)


def test_variants_of_the_frame(tmp_path):
    none, _ = split(tmp_path, ROWS, variant="none")
    assert none[0]["prompt"] == "Q: q0!\n\n### Response:"
    universal, _ = split(tmp_path, ROWS, variant="universal")
    assert universal[0]["prompt"].endswith("request.\n\n### Instruction:\nQ: q0!\n\n### Response:")


@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Co"]), max_size=20))
def test_the_span_that_may_be_cut(tmp_path_factory, text):
    rows = [{"doc": {"q": text}, "a": "x"}, *ROWS]
    found, _ = split(tmp_path_factory.mktemp("s"), rows, cut="q")
    plain, _ = split(tmp_path_factory.mktemp("s"), rows)
    start, end = found[0]["cuttable"]
    assert found[0]["prompt"][start:end] == text
    assert found[0]["prompt"] == plain[0]["prompt"]


def test_a_template_sees_the_same_column_when_it_may_be_cut(tmp_path):
    template = {"input": "{% if q.startswith(' ') %}{{ q | trim }}{% endif %}"}
    rows = [{"doc": {"q": "  question "}, "a": "x"}]
    plain, _ = split(tmp_path, rows * 3, template=template)
    found, _ = split(tmp_path, rows * 3, template=template, cut="q")
    assert found[0]["prompt"] == plain[0]["prompt"]


def test_private_use_characters_of_a_text_stay(tmp_path):
    text = "\ue001a\ue000b\ue001c"
    for cut in (None, "q"):
        found, _ = split(tmp_path, [{"doc": {"q": text}, "a": "x"}] * 3, cut=cut)
        assert f"Q: {text}!" in found[0]["prompt"]


def test_rows_without_a_completion_are_counted(tmp_path):
    found, counts = split(tmp_path, [*ROWS, {"doc": {"q": "q"}, "a": " \n"}])
    assert len(found) == 6
    assert (counts["rows_refused_empty"], counts["rows"]) == (1, 6)
    with pytest.raises(AtlasError, match="d/all: no row has both a prompt and a completion"):
        split(tmp_path, [{"doc": {"q": "q"}, "a": ""}] * 3)


def test_preferences(tmp_path):
    template = {"completion": None, "chosen": "{{ a }}", "rejected": "not {{ a }}"}
    found, _ = split(tmp_path, ROWS, kind="preference", template=template)
    assert (found[1]["chosen"], found[1]["rejected"]) == ("a1", "not a1")
    assert "completion" not in found[1]


def test_texts(tmp_path):
    found, counts = split(tmp_path, [*ROWS, {"doc": {"q": ""}, "a": ""}], kind="text",
                          template={"text": "{{ q }}{{ a }}"})  # fmt: skip
    assert found[2] == {"row": 2, "text": "q2a2"}
    assert counts["rows_refused_empty"] == 1


def test_conversations_are_cut_after_the_first_answer(tmp_path):
    turns = [
        {"role": r, "content": c, "more": 1}
        for r, c in [
            ("system", "s"),
            ("user", "u"),
            ("assistant", "a"),
            ("user", "v"),
            ("assistant", "b"),
        ]
    ]
    rows = [
        {"m": [*turns, {"role": "tool"}]},
        {"m": turns[:2]},
        {"m": [turns[2]]},
        {"m": turns[1:]},
    ]
    found, counts = split(tmp_path, rows, kind="messages", template={"messages": "m"},
                          columns={"m": "m"})  # fmt: skip
    assert [row["row"] for row in found] == [0, 3]
    assert found[1]["messages"] == [
        {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"},
    ]  # fmt: skip
    assert counts["rows_refused_empty"] == 2
    for wrong, message in (
        ("text", "a list of messages"),
        ([{"role": "user"}], "a content"),
        ([{"role": "user", "content": ["a"]}], "is text, not list"),
    ):
        with pytest.raises(AtlasError, match=f"d, row 0: .*{message}"):
            split(tmp_path, [{"m": wrong}] * 3, kind="messages", template={"messages": "m"},
                  columns={"m": "m"})  # fmt: skip


def test_preferences_after_a_conversation(tmp_path):
    """In ShareGPT's form, too; nothing of it is cut."""
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes?"},
             {"from": "human", "value": "Why?"}]  # fmt: skip
    rows = [{"t": turns, "a": "so"}, {"t": [], "a": "so"}, {"t": turns[:1], "a": " "}] * 3
    template = {"messages": "t", "chosen": "{{ a }}", "rejected": "not {{ a }}"}
    found, counts = split(tmp_path, rows, kind="preference", template=template,
                          columns={"t": "t", "a": "a"})  # fmt: skip
    assert [row["row"] for row in found] == [0, 3, 6]
    assert counts["rows_refused_empty"] == 6
    assert found[0] == {"row": 0, "chosen": "so", "rejected": "not so", "messages": [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Why?"},
    ]}  # fmt: skip


def test_conversations_made_of_columns(tmp_path):
    rows = [{"q": "Why?", "a": "So."}, {"q": " ", "a": "So."}, {"q": "Who?", "a": ""}]
    turns = {"system": None, "user": "{{ q }}", "assistant": "{{ a }}"}
    columns = {"q": "q", "a": "a"}
    found, counts = split(tmp_path, rows, kind="messages", template={"messages": turns},
                          columns=columns)  # fmt: skip
    exchange = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    assert found == [{"row": 0, "messages": exchange}]
    assert counts["rows_refused_empty"] == 2
    turns["system"] = "Be {{ q | lower }}"
    found, _ = split(tmp_path, rows[:1] * 3, kind="messages", template={"messages": turns},
                     columns=columns)  # fmt: skip
    assert found[0]["messages"][0] == {"role": "system", "content": "Be why?"}


def test_a_missing_column(tmp_path):
    with pytest.raises(AtlasError, match=r"d, row 6: there is no column 'a'; .*there is: doc"):
        split(tmp_path, [*ROWS, {"doc": {"q": "q"}}])


@pytest.mark.parametrize(
    "template",
    [
        {"completion": "{{ b }}"},  # a name that is no column
        {"completion": "{{ a"},  # not a template
        {"completion": "{{ a + 1 }}"},  # text plus number
        {"input": "{{ q.__class__.__mro__ }}"},  # a way out of the sandbox
        {"variants": {"own": "{{ tsk }}"}},  # a mistake in the frame
    ],
)
def test_a_template_that_fails_is_one_sentence(tmp_path, template):
    with pytest.raises(AtlasError, match=r"^d.*template"):
        split(tmp_path, ROWS, template=template)


def test_the_first_rows_where_there_are_so_many():
    parts = ["first", "second", "third"]

    def cut(split, most):
        return list(split_rows(100, split, [0.5], parts, "d", most))

    assert cut("region", 10) == list(range(10))
    assert cut("third", 10) == [6, 7, 8, 9]
    assert cut("rest", 10) == list(range(10, 100))
    assert cut("region", 60) == list(range(60))
    assert cut("region", 101) == cut("region", None) == list(range(50))
    with pytest.raises(AtlasError, match="too few for the splits"):
        cut("first", 2)
