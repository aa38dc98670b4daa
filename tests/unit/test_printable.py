from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.printable import printable


@settings(max_examples=40)
@given(text=st.text(st.characters()))
def test_nothing_that_a_terminal_obeys_is_left(text):
    shown = printable(text, keep="")
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert printable(shown, keep="") == shown


@settings(max_examples=40)
@given(text=st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "Mn", "Mc"])))
def test_what_people_write_stays(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2K\x1b[1Gwhole: 3 files", r"\x1b[2K\x1b[1Gwhole: 3 files"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb", r"a\rb"),
        ("evil\u202egpj.exe", r"evil\u202egpj.exe"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\ud800", r"\ud800"),
        ("ä ü\nß", "ä ü\nß"),
        ("日本", "日本"),
    ],
    ids=range(8),
)
def test_control_characters_are_shown(text, shown):
    assert printable(text) == shown


def test_a_sentence_that_quotes_a_stranger_moves_no_cursor():
    assert str(AtlasError("a \x1b[1A\r\n  b", "c")) == "a \\x1b[1A b\nc"
