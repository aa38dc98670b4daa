"""Tokens and labels of all rows at hand, against the published rules written plainly."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast
from trl import apply_chat_template

from atlas.configuration.datasets import Dataset
from atlas.datasets.labels import APART
from atlas.datasets.splits import make_split
from atlas.datasets.training_rows import prepare_rows
from atlas.files import read_jsonl, write_jsonl
from atlas.training.fine_tuning import _labelled

pytestmark = pytest.mark.main
DATASETS = ("gsm8k", "hellaswag", "privacy_policy_qa", "pubmedqa", "mbpp")
PAIRS = ("dpo-en-demo", "piqa")
CHATS = ("gsm8k-chat", "mbpp-chat", "alpaca", "instructlab", "sciq")
TEMPLATE = "### Response:"
LLAMA = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}"
    "<|end_header_id|>\n\n{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# As Llama 3 cuts a text before it is made of bytes.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split_all(folder, run, config, name, most=None):
    """Every row of a dataset (or so many), in its own frame."""
    entry = Dataset(**yaml.safe_load((run / "config" / config).read_text())["datasets"][name])
    make_split(
        dataset=name, raw=run / f"results/sources/datasets/{name}.jsonl", split="all",
        variant="own", kind=entry.template.kind(), columns=entry.columns,
        template=entry.template.model_dump(), region=entry.splits.region,
        parts=entry.splits.parts, most=entry.splits.most, cut=entry.cut,
        rows=folder / f"{name}.jsonl", counts=folder / f"{name}.json",
    )  # fmt: skip
    write_jsonl(folder / f"{name}.jsonl", read_jsonl(folder / f"{name}.jsonl")[:most])
    return folder / f"{name}.jsonl"


@pytest.fixture(scope="module")
def rows(main_run, tmp_path_factory):
    """Rows of the five domains: prompt and completion."""
    folder = tmp_path_factory.mktemp("rows")
    return {name: split_all(folder, main_run, "config.yaml", name) for name in DATASETS}


@pytest.fixture(scope="module")
def others(main_run, tmp_path_factory):
    """Preferences and conversations."""
    folder = tmp_path_factory.mktemp("others")
    targets = [f"results/sources/datasets/{name}.jsonl" for name in (*PAIRS, *CHATS)]
    command = [sys.executable, "-m", "snakemake", *targets, "--cores", "2"]
    done = subprocess.run(command, cwd=main_run, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    configs = dict.fromkeys(PAIRS, "experiments/04_preference.yaml")
    configs |= dict.fromkeys(CHATS, "experiments/05_instructions.yaml")
    # A chat template takes a millisecond a row, and one dataset has 24,545.
    return {name: split_all(folder, main_run, file, name, 500) for name, file in configs.items()}


def _like_llama_3(texts):
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    core.decoder = decoders.ByteLevel()
    ends = ["<|begin_of_text|>", "<|end_of_text|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=ends, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    core.train_from_iterator(texts, trainer)
    return core, *ends


def _like_sentencepiece(texts):
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    core.normalizer = normalizers.Sequence([
        normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")
    ])  # fmt: skip
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    ends = ["<s>", "</s>"]
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<unk>", *ends, *fallback], show_progress=False,
        max_token_length=16,
    )  # fmt: skip
    # Lines are learnt one by one, as SentencePiece does.
    core.train_from_iterator((line for text in texts for line in re.split(r"\s+", text)), trainer)
    return core, *ends


@pytest.fixture(scope="module", params=[_like_llama_3, _like_sentencepiece])
def tokenizer(request, rows, tmp_path_factory):
    """A tokenizer that is learnt from some of the rows, and its folder."""
    some = [
        row["prompt"] + row["completion"] for file in rows.values() for row in read_jsonl(file)[:60]
    ]
    core, start, end = request.param(some)
    number = core.token_to_id(start)
    core.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, number)]
    )
    whole = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=start, eos_token=end, chat_template=LLAMA
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    whole.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return whole, folder


def published(tokens, end, template, length):
    """A text with the end token behind, cut; loss after the last template; no end token is learnt."""
    tokens = tokens[:length]
    labels = [-100 if token == end else token for token in tokens]
    places = [i for i, token in enumerate(labels) if token == template[0]]
    last = [i for i in places if labels[i : i + len(template)] == template][-1:]
    masked = last[0] + len(template) if last else len(labels)
    return tokens, [-100] * masked + labels[masked:]


def prepared(tmp_path, folder, objective, name, file, labels, length):
    """All rows of a file as the trainer gets them, by number."""
    files = [folder / part for part in ("tokenizer.json", "tokenizer_config.json", "config.json")]
    prepare_rows(
        model="m", objective=objective, tokenizer=files, splits=[file],
        data=[{"dataset": name, "split": "all", "share": None, "rows": None,
               "max_tokens": length.pop("max_tokens"), "labels": APART | labels}],
        total=None, seed=1, length=length, rows=tmp_path / "rows.jsonl",
        counts=tmp_path / "counts.json",
    )  # fmt: skip
    return {row["row"]: row for row in read_jsonl(tmp_path / "rows.jsonl")}


@pytest.mark.parametrize(("match", "length", "step"), [("rest", 96, 1), ("second", 768, 10)])
def test_every_row_has_the_published_tokens_and_labels(
    rows, tokenizer, tmp_path, match, length, step
):
    """Of every row; of every tenth by the other match and at the other length."""
    whole, folder = tokenizer
    ids = whole(TEMPLATE, add_special_tokens=False)["input_ids"]
    template = ids[1:] if match == "rest" else [ids[1]]
    learnt = unlearnt = 0
    for name, file in rows.items():
        labels = {"end": False, "keep": True, "template": TEMPLATE, "match": match}
        settings = {"policy": "truncate", "max_tokens": length}
        given = read_jsonl(file)[::step]
        some = tmp_path / "some.jsonl"
        write_jsonl(some, given)
        found = prepared(tmp_path, folder, "sft", name, some, labels, settings)
        assert len(found) == len(given)
        texts = [row["prompt"] + row["completion"] + whole.eos_token for row in given]
        for row, read in zip(given, whole(texts)["input_ids"], strict=True):
            tokens, labels = published(read, whole.eos_token_id, template, length)
            own = found[row["row"]]
            assert _labelled(own) == {"input_ids": tokens, "labels": labels}
            learnt += (found_any := any(label != -100 for label in labels))
            unlearnt += not found_any
    # Both kinds of rows are among them.
    assert learnt > 1000 / step
    assert unlearnt > 10 / step


@pytest.mark.parametrize(("prompt_length", "length"), [(1024, 1536), (24, 40)])
def test_every_preference_has_the_published_tokens(
    others, tokenizer, tmp_path, prompt_length, length
):
    """TRL's own rendering; prompts cut from the left, then the whole from the left (keep_end)."""
    whole, folder = tokenizer
    shorter = 0
    for name in PAIRS:
        settings = {"policy": "keep_end", "prompt_tokens": prompt_length, "max_tokens": length}
        found = prepared(tmp_path, folder, "dpo", name, others[name], {}, settings)
        given = read_jsonl(others[name])
        assert len(found) == len(given)
        for row in given:
            if "messages" in row:
                told = {key: [{"role": "assistant", "content": row[key]}]
                        for key in ("chosen", "rejected")}  # fmt: skip
                row |= apply_chat_template({"prompt": row["messages"], **told}, whole)
            ids = {key: whole(row[key], add_special_tokens=False)["input_ids"]
                   for key in ("prompt", "chosen", "rejected")}  # fmt: skip
            own = found[row["row"]]
            for key in ("chosen", "rejected"):
                prompt, answer = ids["prompt"][-prompt_length:], [*ids[key], whole.eos_token_id]
                tokens = (prompt + answer)[-length:]
                kept = own["prompt_ids"][own[f"{key}_prompt_start"] :]
                assert kept + own[f"{key}_ids"] == tokens
                assert len(kept) == max(0, len(tokens) - len(answer))
                shorter += len(tokens) < len(ids["prompt"] + answer)
    assert shorter > 100


def test_every_conversation_has_the_published_tokens_and_labels(others, tokenizer, tmp_path):
    """Up to the first answer; loss after the assistant's header; no end token is learnt."""
    whole, folder = tokenizer
    header = "<|start_header_id|>assistant<|end_header_id|>\n\n"
    for name in CHATS:
        settings = {"policy": "truncate", "max_tokens": 512}
        found = prepared(
            tmp_path, folder, "sft", name, others[name], {"end": False, "keep": True}, settings
        )
        for row in read_jsonl(others[name]):
            turns = [
                f"<|start_header_id|>{turn['role']}<|end_header_id|>\n\n{turn['content'].strip()}<|eot_id|>"
                for turn in row["messages"]
            ]
            text = whole.bos_token + "".join(turns)
            ids = whole(text, add_special_tokens=False)["input_ids"]
            before = whole(text[: text.rindex(header) + len(header)], add_special_tokens=False)
            start = len(before["input_ids"])
            if ids[:start] != before["input_ids"]:  # a token over the border is learnt
                start = next(
                    i
                    for i, (a, b) in enumerate(zip(ids, before["input_ids"], strict=False))
                    if a != b
                )
            labels = [-100] * start + [-100 if i == whole.eos_token_id else i for i in ids[start:]]
            expected = {"input_ids": ids[:512], "labels": labels[:512]}
            assert _labelled(found[row["row"]]) == expected
