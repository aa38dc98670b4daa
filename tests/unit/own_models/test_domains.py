from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from atlas.grammar import NAME_PATTERN
from atlas.own_models.domains import guess_domains
from unit.own_models.folders import model


def guess(*models):
    return guess_domains(models, {"gsm8k": "math"})


def test_data_sets_of_cards_come_first():
    cards = [{"datasets": ["gsm8k"]}, {"datasets": ["org/pile of law"]}]
    labels, how = guess(*(model(f"m{i}", card=card) for i, card in enumerate(cards)))
    assert labels == ["math", "pile-of-law"]
    assert "data sets" in how


def test_folders_that_hold_several_models():
    models = [model(n, parent=p) for n, p in (("a", "math"), ("b", "math"), ("c", "law"))]
    assert guess(*models) == (["math", "math", "law"], "the folders that they are in")


def test_words_that_names_do_not_share():
    names = ("llama-math-r8-first", "llama-math-r16-second", "llama_legal_lora-3")
    assert guess(*map(model, names)) == (["math", "math", "legal"], "their names")


def test_authors_and_at_last_their_own_names():
    models = [model(n, author=a) for n, a in (("x", "bob"), ("y", "bob"), ("z", "eve"))]
    assert guess(*models) == (["bob", "bob", "eve"], "their authors")
    labels, how = guess(model("one"), model("two"))
    assert labels == ["one", "two"]
    assert how == "their names, as nothing groups them"


WORD = st.text("ab1-_ é", max_size=6)
MODELS = st.lists(
    st.builds(
        lambda name, parent, author, data: model(
            name, parent=parent, author=author, card={"datasets": data}
        ),
        st.from_regex(NAME_PATTERN, fullmatch=True), WORD, WORD, st.lists(WORD, max_size=2),
    ),
    min_size=2, max_size=6, unique_by=lambda m: m.name,
)  # fmt: skip


@given(MODELS, st.randoms())
def test_guesses_are_names_that_tell_models_apart_in_any_order(models, random):
    labels, how = guess(*models)
    assert all(re.match(NAME_PATTERN, label) for label in labels)
    assert len(set(labels)) > 1
    order = random.sample(range(len(models)), len(models))
    assert guess(*(models[i] for i in order)) == ([labels[i] for i in order], how)
