from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.networks.tokens import BYTE_VOCABULARY, Tokens, batches, byte_tokenizer, load_tokenizer

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
EXCHANGE = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}]


@pytest.fixture(scope="module")
def tokens(base_folder):
    return Tokens(base_folder)


def test_the_byte_tokenizer_is_the_same_each_time(tmp_path):
    for name in "ab":
        byte_tokenizer().save_pretrained(tmp_path / name, save_jinja_files=False)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert len(byte_tokenizer()) == BYTE_VOCABULARY


@given(text=texts)
def test_one_token_per_byte_and_back(tokens, text):
    ids = tokens.text(text, close=False)
    assert len(ids) == len(text.encode())
    assert tokens.decode(ids) == text
    assert tokens.text(text, close=True) == [*ids, 2]
    assert tokens.decode([*ids, 2]) == text


@given(text=texts)
def test_the_same_tokens_as_transformers(tokens, base_folder, text):
    reference = load_tokenizer(base_folder)
    assert tokens.text(text, close=False) == reference(text, add_special_tokens=False).input_ids
    assert tokens.prompt(text) == reference(text).input_ids


def test_a_prompt_has_a_start_and_no_end(tmp_path):
    from tokenizers.processors import TemplateProcessing

    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|start|> $A <|end|>", special_tokens=[("<|start|>", 1), ("<|end|>", 2)]
    )
    tokenizer.save_pretrained(tmp_path, save_jinja_files=False)
    closing = Tokens(tmp_path)
    assert closing.prompt("a") == [1, *closing.text("a", close=False)]


def test_a_tokenizer_that_makes_nothing_of_a_prompt_is_refused(base_folder, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base_folder / name, tmp_path)
    settings = json.loads((tmp_path / "tokenizer.json").read_text())
    settings["normalizer"] = {"type": "Replace", "pattern": {"Regex": "."}, "content": ""}
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    with pytest.raises(AtlasError, match="its tokenizer makes no token of 'A text'"):
        Tokens(tmp_path).prompt("A text")


def test_offsets_tell_where_tokens_stand(tokens):
    assert tokens.offsets("aé") == [(0, 1), (1, 2), (1, 2)]


def test_settings_of_truncation_and_padding_are_off(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    tokenizer.save_pretrained(tmp_path, save_jinja_files=False)
    assert len(Tokens(tmp_path).prompt("0123456789")) == 10


def test_special_tokens(base_folder, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((base_folder / name).read_bytes())
    assert (Tokens(tmp_path).end, Tokens(tmp_path).padding) == (2, 0)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["eos_token"] = {"content": "<|start|>"}
    del settings["pad_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert (Tokens(tmp_path).end, Tokens(tmp_path).padding) == (1, 1)
    del settings["eos_token"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    endless = Tokens(tmp_path)
    assert endless.prompt("a") == Tokens(base_folder).prompt("a")
    with pytest.raises(AtlasError, match="has no end token"):
        endless.text("a", close=True)


def test_chat(tokens, base_folder):
    reference = load_tokenizer(base_folder)
    expected = "<|start|>user\nHi?<|end|>\n<|start|>assistant\n"
    opened = tokens.chat(EXCHANGE[:1], prompt=True)
    assert opened == reference(expected, add_special_tokens=False).input_ids
    closed = tokens.chat(EXCHANGE, prompt=False)
    assert closed == opened + reference("Yes.<|end|>\n", add_special_tokens=False).input_ids


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.booleans())
def test_batches_are_a_partition(lengths, exact):
    groups = batches(lengths, exact)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert all(groups)
    if exact:
        assert len(groups) == 1
    else:
        assert [len({lengths[i] for i in group}) for group in groups] == [1] * len(set(lengths))
