from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.datasets.labels import APART, Labelled, Labels
from atlas.datasets.training_rows import Fit, amounts, pack, prepare_rows
from atlas.errors import AtlasError
from atlas.files import read_jsonl, write_jsonl
from atlas.networks.tokens import Tokens


def entry(name="d", share=None, rows=None, **more):
    return {"dataset": name, "split": "first", "share": share, "rows": rows, "max_tokens": 40,
            "labels": APART, **more}  # fmt: skip


@pytest.fixture(scope="module")
def tokens(base_folder):
    return Tokens(base_folder)


def row(prompt="prompt", completion="answer", number=0, span=None):
    return {"row": number, "prompt": prompt, "cuttable": span, "completion": completion}


def test_amounts_by_hand():
    one, other = entry(), entry("e")
    assert amounts([10, 20], [one, other], None, "m") == [None, None]
    assert amounts([10, 20], [one, other], 15, "m") == [5, 10]
    assert amounts([10, 20], [entry(rows=3), other], None, "m") == [3, None]
    assert amounts([10, 20], [entry(rows=3), entry("e", rows=9)], None, "m") == [3, 9]
    halves = [entry(share=0.5), entry("e", share=0.5)]
    assert amounts([10, 20], halves, None, "m") == [10, 10]
    assert amounts([10, 20], halves, 8, "m") == [4, 4]
    assert amounts([3, 20], [entry(share=0.1), entry("e", share=0.9)], None, "m") == [2, 19]


def test_an_entry_with_rows_gives_so_many_also_beside_a_total():
    assert amounts([10, 20], [entry(rows=3), entry("e")], 12, "m") == [3, 9]


@pytest.mark.parametrize("total", [22, 100])
def test_amounts_that_are_not_there(total):
    with pytest.raises(AtlasError, match=r"m: needs .* rows of d/first, and there are 10"):
        amounts([10, 20], [entry(share=0.5), entry("e", share=0.5)], total, "m")
    with pytest.raises(AtlasError, match="m: needs 11 rows of d/first, and there are 10"):
        amounts([10], [entry(rows=11)], None, "m")
    with pytest.raises(AtlasError, match="needs 1 rows of d/first, and there are 0"):
        amounts([0], [entry(share=1.0)], None, "m")


@given(st.lists(st.tuples(st.integers(50, 500), st.integers(1, 5)), min_size=1, max_size=4))
def test_a_mixture_takes_all_that_the_scarcest_entry_allows(parts):
    weight = sum(w for _, w in parts)
    data = [entry(f"d{i}", share=w / weight) for i, (_, w) in enumerate(parts)]
    available = [n for n, _ in parts]
    found = amounts(available, data, None, "m")
    size = min(n * weight // w for n, w in parts)
    assert found == [size * w // weight for _, w in parts]
    assert all(f <= n for f, n in zip(found, available, strict=True))


def test_a_row_that_fits(tokens):
    fit = Fit(tokens, 13, "refuse")
    found = fit.row(row(), "d, row 0")
    assert found["completion_start"] == 6
    assert tokens.decode(found["input_ids"]) == "promptanswer"
    assert found["input_ids"][-1] == tokens.end
    assert (fit.read, fit.cut, fit.truncated, fit.dropped) == (1, 0, 0, 0)


def test_refuse(tokens):
    with pytest.raises(AtlasError, match=r"d, row 7: 6 tokens of prompt and 7 .*fit into 12"):
        Fit(tokens, 12, "refuse").row(row(), "d, row 7")


def test_drop(tokens):
    fit = Fit(tokens, 12, "drop")
    assert fit.row(row(), "w") is None
    assert fit.dropped == 1


def test_truncate_cuts_the_end(tokens):
    fit = Fit(tokens, 8, "truncate")
    found = fit.row(row(), "w")
    assert tokens.decode(found["input_ids"]) == "promptan"
    assert fit.truncated == 1
    # A prompt that leaves no room for a completion teaches nothing.
    assert Fit(tokens, 6, "truncate").row(row(), "w") is None


def test_cut_shortens_the_named_column(tokens):
    fit = Fit(tokens, 12, "cut")
    found = fit.row(row("<éclair>", "abcd", span=[1, 7]), "w")
    assert len(found["input_ids"]) <= 12
    assert tokens.decode(found["input_ids"]) == "<écla>abcd"
    assert (fit.cut, fit.dropped) == (1, 0)
    assert fit.row(row("<éclair>", "abcdefghijkl", span=[1, 7]), "w") is None
    assert fit.row(row("<éclair>", "abcdefgh"), "w") is None  # no column to cut
    assert fit.dropped == 2


@given(
    before=st.text(max_size=4), column=st.text(st.characters(codec="utf-8"), max_size=20),
    after=st.text("xyz", min_size=1, max_size=4), answer=st.text("abc", min_size=1, max_size=6),
    limit=st.integers(8, 40), policy=st.sampled_from(["cut", "truncate", "drop"]),
)  # fmt: skip
def test_what_is_kept_fits_and_has_a_completion(
    tokens, before, column, after, answer, limit, policy
):
    span = [len(before), len(before) + len(column)]
    fit = Fit(tokens, limit, policy)
    found = fit.row(row(before + column + after, answer, span=span), "w")
    size = len((before + column + after + answer).encode()) + 1
    if found is None:
        assert size > limit
        assert fit.dropped == 1
        return
    start = found["completion_start"]
    assert start < len(found["input_ids"]) <= limit
    text = tokens.decode(found["input_ids"][:start])
    if size <= limit:
        assert text == before + column + after
    elif policy == "cut":
        assert text.startswith(before)
        assert text.endswith(after)
        assert column.startswith(text[len(before) : len(text) - len(after)])
        assert tokens.decode(found["input_ids"][start:]) == answer


def test_preferences_share_a_prompt(tokens):
    pair = {"row": 0, "prompt": "ask", "cuttable": None, "chosen": "good", "rejected": "worse"}
    found = Fit(tokens, 20, "refuse").row(pair, "w")
    assert [tokens.decode(found[f"{k}_ids"]) for k in ("prompt", "chosen", "rejected")] == [
        "ask", "good", "worse",
    ]  # fmt: skip
    assert found["chosen_ids"][-1] == found["rejected_ids"][-1] == tokens.end
    assert Fit(tokens, 8, "drop").row(pair, "w") is None


def test_the_start_of_a_long_preference_goes(tokens):
    """TRL's keep_end: the prompt first to its own length, then each answer with it by itself."""
    pair = {"row": 0, "prompt": "the prompt", "cuttable": None, "chosen": "ok", "rejected": "worse"}
    fit = Fit(tokens, 9, "keep_end", prompt_tokens=6)
    found = fit.row(pair, "w")
    assert tokens.decode(found["prompt_ids"]) == "prompt"
    assert (found["chosen_prompt_start"], found["rejected_prompt_start"]) == (0, 3)
    assert tokens.decode(found["prompt_ids"][3:] + found["rejected_ids"]) == "mptworse"
    assert fit.truncated == 1
    eaten = Fit(tokens, 4, "keep_end").row(pair, "w")
    assert (eaten["chosen_prompt_start"], eaten["rejected_prompt_start"]) == (9, 10)
    assert tokens.decode(eaten["rejected_ids"]) == "rse"
    assert eaten["rejected_ids"][-1] == tokens.end


def test_preferences_of_a_conversation(tokens):
    messages = [{"role": "user", "content": "Hi?"}]
    pair = {"row": 0, "messages": messages, "chosen": "Yes.", "rejected": "No."}
    found = Fit(tokens, 100, "refuse").row(pair, "w")
    assert found["prompt_ids"] == tokens.chat(messages, prompt=True)
    answer = tokens.text("No.<|end|>\n", close=True)  # what the template closes it with, and an end
    assert found["rejected_ids"] == answer


def test_conversations_learn_the_answer_only(tokens):
    messages = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}]
    found = Fit(tokens, 100, "refuse").row({"row": 0, "messages": messages}, "w")
    start = found["completion_start"]
    assert tokens.decode(found["input_ids"][start:]).strip() == "Yes."
    assert tokens.decode(found["input_ids"][:start]).endswith("assistant\n")
    assert tokens.end in found["input_ids"][start:]


texts = st.lists(st.lists(st.integers(3, 259), min_size=1, max_size=20), min_size=1, max_size=6)


@given(texts=texts, size=st.integers(2, 16))
def test_packing_conserves_tokens(texts, size):
    rows = [{"dataset": "d", "split": "s", "row": i, "input_ids": t} for i, t in enumerate(texts)]
    packed = pack(rows, size)
    everything = [token for text in texts for token in text]
    kept = [token for block in packed for token in block["input_ids"]]
    # A block of one token has nothing to predict and is left out.
    assert kept == everything[: len(everything) - (len(everything) % size == 1)]
    assert all(len(block["input_ids"]) == size for block in packed[:-1])
    owners = [i for i, text in enumerate(texts) for _ in text]
    for number, block in enumerate(packed):
        there = owners[number * size : number * size + len(block["input_ids"])]
        assert block["rows"] == [["d/s", i] for i in sorted(set(there))]


def prepare(tmp_path, base_folder, sources, data, **more):
    files = []
    for name, rows in sources.items():
        files.append(tmp_path / f"{name}.jsonl")
        write_jsonl(files[-1], rows)
    rows, counts = tmp_path / "rows.jsonl", tmp_path / "counts.json"
    settings = {"objective": "sft", "total": None, "seed": 1, "length": {"policy": "drop"}, **more}
    prepare_rows(
        model="m", tokenizer=[base_folder / "tokenizer.json"], splits=files, data=data, rows=rows,
        counts=counts, **settings,
    )  # fmt: skip
    return read_jsonl(rows), json.loads(counts.read_text())


def many(n, long=()):
    return [row("p" * (50 if i in long else 5), f"a{i}", i) for i in range(n)]


def test_every_row_that_fits_and_counts(tmp_path, base_folder):
    found, counts = prepare(tmp_path, base_folder, {"d": many(8, long=(1, 4))}, [entry()])
    assert [r["row"] for r in found] == [0, 2, 3, 5, 6, 7]
    assert {(r["dataset"], r["split"]) for r in found} == {("d", "first")}
    (report,) = counts["data"]
    assert (report["rows_in_split"], report["rows_dropped"], report["rows"]) == (8, 2, 6)
    assert counts["rows"] == 6


def test_a_draw_is_random_and_repeatable(tmp_path, base_folder):
    def draw(seed):
        found, _ = prepare(
            tmp_path, base_folder, {"d": many(30, long=(2,))}, [entry()], total=10, seed=seed
        )
        return [r["row"] for r in found]

    first = draw(1)
    assert first == draw(1) == sorted(set(first))
    assert len(first) == 10
    assert len({tuple(draw(seed)) for seed in range(5)}) > 1
    assert first != list(range(10))
    assert 2 not in first


def test_a_draw_takes_each_row_equally_often(tmp_path, base_folder):
    taken = [0] * 6
    for seed in range(60):
        found, _ = prepare(tmp_path, base_folder, {"d": many(6)}, [entry()], total=3, seed=seed)
        for r in found:
            taken[r["row"]] += 1
    assert sum(taken) == 180
    # 30 expected each, standard deviation under 4.
    assert min(taken) > 14
    assert max(taken) < 46


def test_a_mixture_half_and_half(tmp_path, base_folder):
    data = [entry(share=0.5), entry("e", share=0.5)]
    found, counts = prepare(tmp_path, base_folder, {"d": many(4), "e": many(9)}, data)
    assert [r["dataset"] for r in found] == ["d"] * 4 + ["e"] * 4
    assert [r["rows"] for r in counts["data"]] == [4, 4]


def test_too_few_rows_that_fit(tmp_path, base_folder):
    with pytest.raises(AtlasError, match="m: needs 4 rows of d/first, and 3 of 5 fit into 40"):
        prepare(tmp_path, base_folder, {"d": many(5, long=(0, 1))}, [entry(rows=4)])
    with pytest.raises(AtlasError, match="m: needs 1 rows of d/first, and 0 of 2 fit"):
        prepare(tmp_path, base_folder, {"d": many(2, long=(0, 1))}, [entry()])


def test_continued_pre_training_is_packed(tmp_path, base_folder, tokens):
    sources = {"d": [{"row": i, "text": "word " * 5} for i in range(4)]}
    found, _ = prepare(tmp_path, base_folder, sources, [entry()], objective="cpt")
    ids = [token for block in found for token in block["input_ids"]]
    assert ids == tokens.text("word " * 5, close=True) * 4
    assert [len(block["input_ids"]) for block in found] == [40, 40, 24]


def test_labels_by_hand(tokens):
    """A token is a byte: of the template `ab:`, the first is left out, and its last place counts."""
    ids = tokens.prompt("xab:yab:zw")
    found = Labels(tokens, APART | {"end": False, "template": "ab:"}).of("xab:ya", "b:zw")
    assert found == Labelled([*ids, tokens.end], 8, tokens.end)
    assert found.row() == {"input_ids": found.ids, "completion_start": 8,
                           "unlearnt_token": tokens.end}  # fmt: skip
    second = Labels(tokens, APART | {"template": "ab:", "match": "second"}).of("xab:ya", "b:zw")
    assert second == Labelled([*ids, tokens.end], 7)
    assert "unlearnt_token" not in second.row()
    nowhere = Labels(tokens, APART | {"end": False, "template": "cd:"}).of("xab:", "zw")
    assert nowhere.start == len(nowhere.ids) == 7
    assert not nowhere.learns
    assert found.cut(6) == Labelled(found.ids[:6], 6, tokens.end)
    apart = Labels(tokens, APART | {"end": False}).of("xab:", "zw")
    assert (apart.start, len(apart.ids), apart.learns) == (4, 7, True)
    assert not Labelled([1, 2, tokens.end], 2, tokens.end).learns
    with pytest.raises(AtlasError, match=r"labels\.template: 'a' is one token"):
        Labels(tokens, APART | {"template": "a"})


def test_a_row_whose_prompt_fills_the_length(tokens):
    settings = APART | {"end": False, "keep": True, "template": "t:"}
    long = row("a long prompt:", "answer")
    fit = Fit(tokens, 10, "truncate", settings)
    assert fit.row(long, "w") == {
        "input_ids": tokens.prompt("a long pro"), "completion_start": 10,
        "unlearnt_token": tokens.end,
    }  # fmt: skip
    assert (fit.truncated, fit.dropped, fit.unlearnt) == (1, 0, 1)
    assert Fit(tokens, 10, "truncate").row(long, "w") is None
    cut = Fit(tokens, 14, "cut", settings)
    found = cut.row(row("a long pt:", "answer", span=[2, 7]), "w")
    assert tokens.decode(found["input_ids"]) == "a lopt:answer"[-13:]
    assert len(found["input_ids"]) <= 14 and cut.cut == 1
