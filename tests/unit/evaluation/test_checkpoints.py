from __future__ import annotations

import json

import pytest
import torch

from atlas.errors import AtlasError
from atlas.evaluation.checkpoints import evaluate
from atlas.files import read_json
from atlas.networks.tokens import load_tokenizer
from unit.conftest import load, make_base, make_full, make_lora

EXCHANGE = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
LONG = [{"role": "user", "content": "Why? " * 200}, EXCHANGE[1]]


@pytest.fixture
def arguments(tmp_path):
    base = make_base(tmp_path / "bases" / "tiny")
    for name, rows in (
        ("plain", [{"row": 0, "text": "A text."}, {"row": 1, "text": "Another."}]),
        ("talk", [{"row": 0, "messages": LONG}, {"row": 1, "messages": EXCHANGE}]),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rest.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "questions.txt").write_text("Why?\n\nWho?\n")
    return {
        "name": "tiny", "base": base, "model": [], "texts": [tmp_path / "plain" / "rest.jsonl"],
        "chats": [tmp_path / "talk" / "rest.jsonl"], "questions": tmp_path / "questions.txt",
        "base_names": ["tiny"], "dtype": "float32", "documents": 5, "max_tokens": 120,
        "new_tokens": 6, "evaluation": tmp_path / "evaluation.json",
    }  # fmt: skip


def answer_loss(network, tokenizer, messages) -> tuple[float, int]:
    """Mean -log p of the answer's tokens, as transformers computes a loss with labels."""
    before = tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, return_dict=False
    )
    whole = tokenizer.apply_chat_template(messages, return_dict=False)
    labels = [-100] * len(before) + whole[len(before) :]
    with torch.no_grad():
        loss = network(torch.tensor([whole]), labels=torch.tensor([labels])).loss
    return float(loss), len(whole) - len(before)


def test_a_base(arguments):
    evaluate(**arguments)
    found = read_json(arguments["evaluation"])
    folder = arguments["base"][0].parent
    network, tokenizer = load(folder), load_tokenizer(folder)
    loss, tokens = answer_loss(network, tokenizer, EXCHANGE)
    chat = found["chats"]["talk"]
    assert (chat["rows"], chat["tokens"]) == (1, tokens)  # the long one does not fit
    assert chat["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["texts"]["plain"]["documents"] == 2
    assert found["chat_template"] is True
    assert [a["question"] for a in found["answers"]] == ["Why?", "Who?"]
    ids = torch.tensor([tokenizer("Who?")["input_ids"]])
    written = network.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                               max_new_tokens=6, pad_token_id=0)[0, ids.shape[1] :]  # fmt: skip
    plain = tokenizer.decode(written, skip_special_tokens=True).strip()
    assert found["answers"][1]["plain"] == plain


def test_a_model_is_not_its_base(arguments, tmp_path):
    folder = arguments["base"][0].parent
    evaluate(**arguments)
    before = read_json(arguments["evaluation"])
    whole = make_full(folder, tmp_path / "full", 4)
    adapter = make_lora(folder, tmp_path / "lora", 4, ["q_proj"], 1)
    for files in (whole, adapter):
        evaluate(**{**arguments, "name": "m", "model": files})
        after = read_json(arguments["evaluation"])
        assert after["texts"]["plain"]["perplexity"] != before["texts"]["plain"]["perplexity"]
        assert after["chats"]["talk"]["loss"] != before["chats"]["talk"]["loss"]


def test_without_a_chat_template(arguments):
    settings = arguments["base"][3]
    kept = {k: v for k, v in read_json(settings).items() if k != "chat_template"}
    settings.write_text(json.dumps(kept))
    evaluate(**arguments)
    found = read_json(arguments["evaluation"])
    assert (found["chat_template"], found["chats"]) == (False, {})
    assert not any("chat" in answer for answer in found["answers"])


def test_no_conversation_fits(arguments):
    with pytest.raises(AtlasError, match="no conversation fits into 8 tokens; raise"):
        evaluate(**{**arguments, "max_tokens": 8})
