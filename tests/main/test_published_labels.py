"""Tokens and labels of all rows of the five datasets, against the published rule written plainly."""

from __future__ import annotations

import json
import re

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

from atlas.configuration.datasets import Dataset
from atlas.datasets.splits import make_split
from atlas.datasets.training_rows import prepare_rows
from atlas.files import read_jsonl
from atlas.training.fine_tuning import _labelled

pytestmark = pytest.mark.main
DATASETS = ("gsm8k", "hellaswag", "privacy_policy_qa", "pubmedqa", "mbpp")
TEMPLATE = "### Response:"
# As Llama 3 cuts a text before it is made of bytes.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def rows(main_run, tmp_path_factory):
    """Every row of each dataset, as prompt and completion."""
    folder = tmp_path_factory.mktemp("rows")
    entries = yaml.safe_load((main_run / "config/config.yaml").read_text())["datasets"]
    found = {}
    for name in DATASETS:
        entry = Dataset(**entries[name])
        found[name] = folder / f"{name}.jsonl"
        make_split(
            dataset=name, raw=main_run / f"results/sources/datasets/{name}.jsonl", split="all",
            variant="own", kind=entry.template.kind(), columns=entry.columns,
            template=entry.template.model_dump(), region=entry.splits.region,
            parts=entry.splits.parts, most=entry.splits.most, cut=entry.cut, rows=found[name],
            counts=folder / f"{name}.json",
        )  # fmt: skip
    return found


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
    whole = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=start, eos_token=end)
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


@pytest.mark.parametrize(("match", "length"), [("rest", 96), ("second", 768)])
def test_every_row_has_the_published_tokens_and_labels(rows, tokenizer, tmp_path, match, length):
    whole, folder = tokenizer
    ids = whole(TEMPLATE, add_special_tokens=False)["input_ids"]
    template = ids[1:] if match == "rest" else [ids[1]]
    files = [folder / name for name in ("tokenizer.json", "tokenizer_config.json", "config.json")]
    learnt = unlearnt = 0
    for name, file in rows.items():
        prepare_rows(
            model="m", objective="sft", tokenizer=files, splits=[file],
            data=[{"dataset": name, "split": "all", "share": None, "rows": None, "max_tokens": length,
                   "labels": {"end": False, "template": TEMPLATE, "match": match}}],
            total=None, seed=1, length={"policy": "truncate"}, rows=tmp_path / "rows.jsonl",
            counts=tmp_path / "counts.json",
        )  # fmt: skip
        found = {row["row"]: row for row in read_jsonl(tmp_path / "rows.jsonl")}
        given = read_jsonl(file)
        assert len(found) == len(given)
        texts = [row["prompt"] + row["completion"] + whole.eos_token for row in given]
        for row, read in zip(given, whole(texts)["input_ids"], strict=True):
            tokens, labels = published(read, whole.eos_token_id, template, length)
            own = found[row["row"]]
            assert _labelled(own) == {"input_ids": tokens, "labels": labels}
            learnt += (found_any := any(label != -100 for label in labels))
            unlearnt += not found_any
    # Both kinds of rows are among them.
    assert learnt > 1000
    assert unlearnt > 10
