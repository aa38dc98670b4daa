"""Tokenizers that somebody made to do harm: refused by their sizes, or ended."""

from __future__ import annotations

import base64
import json
import time

import pytest

from atlas import guarded_tokenizers
from atlas.errors import AtlasError
from atlas.guarded_tokenizers import GuardedTokenizer, check_tokenizer
from atlas.limits import LimitError, awaited, without_panics
from atlas.networks.tokens import byte_tokenizer

SLOW = "(?:a|a){18}(?=b|c)"  # hundredths of a second at each place of a text
ENDLESS = "^(([a-z])+.)+[A-Z]([a-z])+$"  # the library gives it up


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    file = tmp_path_factory.mktemp("tokenizer")
    byte_tokenizer().save_pretrained(file)
    return (file / "tokenizer.json").read_text()


@pytest.fixture
def written(settings, tmp_path):
    def write(change):
        found = json.loads(settings)
        change(found)
        (file := tmp_path / "tokenizer.json").write_text(json.dumps(found))
        return file

    return write


def sets(**keys):
    return lambda found: found.update(keys)


def replace(pattern, content):
    return {"type": "Replace", "pattern": pattern, "content": content}


def added(count, number=lambda i: 300 + i):
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return lambda found: found["added_tokens"].extend(
        {"id": number(i), "content": f"<t{i}>", **plain} for i in range(count)
    )


def around(count):
    template = {"type": "TemplateProcessing", "special_tokens": {
        "x": {"id": "x", "ids": [0] * count, "tokens": ["x"] * count}}}  # fmt: skip
    return sets(post_processor=template)


def charsmap(data):
    table = base64.b64encode(data).decode()
    return sets(normalizer={"type": "Precompiled", "precompiled_charsmap": table})


def nested(depth):
    step = {"type": "Sequence", "normalizers": []}
    for _ in range(depth):
        step = {"type": "Sequence", "normalizers": [step]}
    return sets(normalizer=step)


LONGER = [replace({"Regex": "a"}, "a" * 100) for _ in range(5)]
# Name -> what is done to a good tokenizer, and a part of the sentence that it is refused with.
HOSTILE = {
    "added": (added(2_000), "has 2,004 tokens that were added, and none has over 1,000"),
    "numbers": (added(1, lambda _: 1 << 31), "'2147483648' is the number of no token"),
    "no number": (added(1, lambda _: "7"), "'7' is the number of no token"),
    "true": (added(1, lambda _: True), "'True' is the number of no token"),
    "minus": (lambda found: found["model"]["vocab"].update(a=-1), "'-1' is the number of no token"),
    "vocabulary": (lambda found: found["model"].update(vocab=7), "is no tokenizer"),
    "grows": (sets(normalizer={"type": "Sequence", "normalizers": LONGER}), "times the length of a text"),
    "grows without end": (
        sets(decoder={"type": "Sequence", "decoders": LONGER * 90}),
        "has 1,000,000,000,000 times the length of a text",
    ),
    "grows from a letter": (
        sets(normalizer=replace({"String": "a"}, "b" * 10_001)), "has 10,001 times the length",
    ),
    "grows at once": (sets(normalizer={"type": "Prepend", "prepend": "x" * 10**5}), "has 100,000 times"),
    "around": (around(2_000), "has 2,000 tokens around each text"),
    "steps": (sets(normalizer={"a": [{}] * 5_000}), "has 5,011 steps"),
    "table": (charsmap(b"\xff" * 4 + bytes(100)), "precompiled_charsmap is not whole"),
    "no table": (charsmap(b""), "precompiled_charsmap is not whole"),
    "nested": (nested(200), "nested more than 100 deep"),
    "list": (lambda found: found.update(model=[]), "is no tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_tokenizer_of_sizes_that_nobody_uses_is_refused(written, monkeypatch, case):
    monkeypatch.setattr(guarded_tokenizers, "MOST_ADDED", 1_000)
    change, sentence = HOSTILE[case]
    file = written(change)
    start = time.process_time()
    with pytest.raises(AtlasError, match=f"tokenizer.json: .*{sentence}") as told:
        check_tokenizer(file)
    assert time.process_time() - start < 10 and len(str(told.value)) < 1_000


def test_what_tokenizers_are_is_taken(written):
    """As those of Gemma, Llama 3 and BERT are."""
    check_tokenizer(written(added(10_000)))
    check_tokenizer(
        written(
            sets(normalizer=replace({"String": " "}, "▁"), decoder=replace({"String": "▁"}, " "))
        )
    )
    check_tokenizer(written(sets(normalizer=None, pre_tokenizer={"type": "BertPreTokenizer"})))
    assert GuardedTokenizer(written(sets())).encode("ab c", special=True).tokens == [
        "a",
        "b",
        "Ġ",
        "c",
    ]


STEPS = {
    "normalizer": lambda regex: sets(normalizer=replace({"Regex": regex}, "x")),
    "pre_tokenizer": lambda regex: sets(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    ),
    "decoder": lambda regex: sets(
        decoder={"type": "Sequence", "decoders": [{"type": "Fuse"}, replace({"Regex": regex}, "x")]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("regex", "sentence"), [(SLOW, "more than 0.2 seconds"), (ENDLESS, "retry-limit")],
                         ids=["slow", "endless"])  # fmt: skip
def test_a_pattern_that_would_not_end_is_ended(written, monkeypatch, step, regex, sentence):
    monkeypatch.setattr(guarded_tokenizers, "SECONDS", 0.2 if regex == SLOW else 20)
    tokenizer = GuardedTokenizer(written(STEPS[step](regex)))
    text = "a" * 200
    start = time.process_time()
    with pytest.raises(AtlasError, match=f"cannot read a text .*{sentence}"):
        if step == "decoder":
            tokenizer.decode([tokenizer.backend.token_to_id("a")] * len(text))
        else:
            tokenizer.encode(text, special=True)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("step", STEPS)
def test_a_pattern_that_ends_reads_as_the_library_does(written, step):
    file = written(STEPS[step]("a+"))
    tokenizer = GuardedTokenizer(file)
    found = tokenizer.encode("baab a", special=True)
    plain = tokenizer.backend.encode("baab a", add_special_tokens=True)
    assert (found.ids, found.offsets) == (plain.ids, plain.offsets)
    assert tokenizer.decode(found.ids) == tokenizer.backend.decode(found.ids)


def test_no_tokenizer_is_told(written):
    with pytest.raises(AtlasError, match="is no tokenizer"):
        GuardedTokenizer(written(sets(decoder={"type": "No"})))


def a_second():
    end = time.thread_time() + 1
    while time.thread_time() < end:
        pass


def test_what_is_awaited_comes_or_raises():
    assert awaited(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        awaited(lambda: 1 / 0, 5)
    start = time.process_time()
    with pytest.raises(LimitError, match=r"more than 0\.1 seconds"):
        awaited(a_second, 0.1)
    assert time.process_time() - start < 2


def test_a_panic_is_an_exception_as_others_are():
    class PanicException(BaseException):
        """As Rust raises it."""

    with pytest.raises(RuntimeError, match="it gave up"), without_panics():
        raise PanicException("it\ngave up")
    with pytest.raises(KeyboardInterrupt), without_panics():
        raise KeyboardInterrupt
