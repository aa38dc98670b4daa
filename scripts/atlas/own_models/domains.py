"""Guesses of the domain of each model, by what is known of it without looking at its weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from atlas.own_models.found import FoundModel, texts

# Words of names that say how, when or how often a model was trained, and not on what.
HOW = re.compile(
    r"\d+[bmk]?|v\d+|r\d+|first|second|third|seed\d*|run\d*|step\d*|epoch\d*|final|best|last|"
    r"checkpoint|ckpt|q?lora|dora|ia3|peft|adapter|sft|dpo|grpo|cpt|ft|tuned|finetuned?|"
    r"instruct|chat|base|model|the|of|on|and"
)
Labels = list[str] | None


def guess_domains(
    models: Sequence[FoundModel], known: Mapping[str, str] | None = None
) -> tuple[list[str], str]:
    """A domain for each model, and where the guess is from, in words.

    The first of these that tells models apart: data sets of their cards, the folders that they are
    in, what their names do not share, their authors. Where none does, each model has its own name.

    :param known: data set -> its domain, where a configuration says it.
    """
    sets = [_data_set(model, known or {}) for model in models]
    folders = [model.parent for model in models]
    names = _own_words([_words(model.name) for model in models])
    authors = [model.author for model in models]
    guesses: tuple[tuple[Sequence[str], str, Callable[[int, int], bool]], ...] = (
        (sets, "the data sets that their cards name", lambda found, _: found > 1),
        (folders, "the folders that they are in", lambda found, n: 1 < found < n),
        (names, "their names", lambda found, n: 1 < found < n),
        (authors, "their authors", lambda found, n: 1 < found < n),
    )
    for labels, how, tells in guesses:
        shown = [_label(label) for label in labels]
        if all(shown) and tells(len(set(shown)), len(shown)):
            return shown, how
    return [_label(model.name) for model in models], "their names, as nothing groups them"


def _data_set(model: FoundModel, known: Mapping[str, str]) -> str:
    """The domain of the first data set of a card, or its name."""
    named = texts(model.card.get("datasets"))
    return known.get(named[0], named[0].rpartition("/")[2]) if named else ""


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9+]+|_", name.lower()) if word]


def _own_words(models: Sequence[list[str]]) -> list[str]:
    """The first word of each name that says on what it was trained and that not all names have."""
    shared = set.intersection(*map(set, models)) if models else set()
    return [
        next((word for word in words if word not in shared and not HOW.fullmatch(word)), "")
        for words in models
    ]


def _label(text: str) -> str:
    """A text as a name of the configuration."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-.+")
