"""docs/errors.md has every sentence that the program can say, and no other."""

import re
from pathlib import Path

from sentences import PROGRAMMERS, QUOTED, REASONS, TOLD, normal, raised, sentences

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
OWN = PAGE.partition("\n## What Snakemake says itself\n")[2].partition("\n## ")[2]
ROWS = [
    row for row in re.findall(r"^\| (.+) \| (.+) \|$", OWN, re.MULTILINE) if row[0] != "sentence"
]


def documented() -> list[str]:
    return [normal(said) for row in ROWS for said in row[0].replace(r"\|", "|").split("<br>")]


def test_every_sentence_is_on_the_page():
    missing = {said: file for said, file in sentences().items() if said not in documented()}
    assert not missing, f"add to docs/errors.md, with what to do: {missing}"


def test_every_sentence_of_the_page_is_said():
    assert not set(documented()) - set(sentences())


def test_each_stands_there_once_and_with_advice():
    assert len(documented()) == len(set(documented())) > 300
    assert all(advice.strip(" .…") for _, advice in ROWS)


def test_every_class_that_is_raised_is_known():
    assert raised() <= set(TOLD) | PROGRAMMERS | REASONS | QUOTED
    assert all(name in PAGE for name in ("TypeError", "RuntimeError", "WorkflowError"))


def test_templates_of_strings():
    import ast

    from sentences import template

    text = template(ast.parse('f"{a}{b}: x" + " y " + z + ("p" if q else "r")', mode="eval").body)
    assert normal(text) == "…: x y …"
