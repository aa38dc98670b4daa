from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.guarded_json import MOST_DEPTH, MOST_DIGITS, parse_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=50)
@given(value=values, ascii_only=st.booleans())
def test_what_python_writes_is_read_as_python_reads_it(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"a": ', "Expecting value"),
        (b"\xff\xfe", "codec can't decode"),
        (b'{"a": 1}'.decode().encode("utf-16"), "codec can't decode"),
        ("[" * 100_000 + "]" * 100_000, "nested more than 100 deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested more than 100 deep"),
        ("[" * 500 + "]" * 500, "nested more than 100 deep"),
        ("[" * 100_000, "nested more than 100 deep"),
        ("9" * 5_000, "a number has 5,000 digits"),
        ("-" + "9" * 300, "a number has 301 digits"),
        ("0." + "9" * 5_000, "no place in 64 bits"),
        ("[1e999]", "1e999… has no place in 64 bits"),
        ("[-1e400]", "no place in 64 bits"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("Infinity", "Infinity is no number of JSON"),
        (r'{"a": "\ud800"}', "half a surrogate pair"),
        (r'{"\uDfff": 1}', "half a surrogate pair"),
    ],
    ids=range(17),
)
def test_what_nobody_writes_is_refused_at_once(data, reason):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=reason):
        parse_json(data)
    assert time.perf_counter() - start < 2


def test_the_limits_themselves_are_read():
    deep = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert json.dumps(parse_json(deep)) == deep
    with pytest.raises(ValueError, match="deep"):
        parse_json(f"[{deep}]")
    assert math.isfinite(float(parse_json("9" * MOST_DIGITS)))
    assert parse_json(r'"\ud83d\ude00"') == "😀"


def test_wide_is_not_deep():
    rows = "[" + ",".join(["[[1], {}]"] * 1_000) + "]"
    assert len(parse_json(rows)) == 1_000


LIBRARY = Path(__file__).resolve().parents[2] / "scripts/atlas"
# Who may: each guarded place; what reads only what this very process, or this program, wrote.
READERS = {
    "json.loads": {"job/forkserver.py", "job/closures.py", "job/usage.py", "job/attempts.py",
                   "training/policy_training.py"},
    "SandboxedEnvironment": {"guarded_templates.py"},
    "from_string": {"guarded_templates.py", "report/pages.py", "navigator/page.py", "lineage/page.py"},
    "gzip": {"sources/archives.py", "navigator/blocks.py"}, "zipfile": {"sources/archives.py"},
    "tarfile": {"sources/archives.py"}, "Tokenizer.from_file": {"guarded_tokenizers.py"},
}  # fmt: skip
RECORDS = re.compile(r"lineage/|job/records")


@pytest.mark.parametrize("what", READERS)
def test_what_strangers_wrote_is_read_in_guarded_places_only(what):
    found = {
        file.relative_to(LIBRARY).as_posix() for file in LIBRARY.rglob("*.py")
        if re.search(rf"\b{re.escape(what)}\b[^\"]*$", file.read_text(), re.MULTILINE)
    }  # fmt: skip
    # Records of provenance have a reader of their own.
    assert {f for f in found if not (what == "json.loads" and RECORDS.match(f))} <= READERS[what]
