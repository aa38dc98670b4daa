"""What a checkpoint makes of held-out texts, of conversations and of questions.

A checkpoint is a base, a model or a merged model: what stands side by side in the tables of
instruction deltas.
"""

import math
from pathlib import Path
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.evaluation.perplexity import negative_log_likelihood, perplexity
from atlas.files import read_jsonl, write_json
from atlas.networks.shards import loaded_model
from atlas.networks.tokens import Tokens
from atlas.progress import Progress


def evaluate(
    *, name: str, base: list[Path], model: list[Path], texts: list[Path], chats: list[Path],
    questions: Path, base_names: list[str], dtype: str, documents: int, max_tokens: int,
    new_tokens: int, evaluation: Path
) -> None:  # fmt: skip
    """Write what one checkpoint makes of the held-out rows, as JSON.

    ``texts``: dataset -> documents, tokens, perplexity. ``chats``: dataset -> rows, tokens and
    loss (nats per token of the answer, given the question in the checkpoint's own chat template).
    ``answers``: per question the answer to the plain text and to the question in the chat
    template, and whether that one ended by itself. ``chat_template``: whether there is one; where
    not, ``chats`` is empty and the answers in the template are missing.

    :param model: files of the model, none for the base itself.
    :param texts, chats: held-out splits, of each the first `documents` rows that fit into
        `max_tokens`. :param questions: one per line. :param new_tokens: longest answer.
    :raises AtlasError: where a split has no row that fits, or a loss is not finite.
    """
    # A full model (trained, merged) has a tokenizer of its own: that of the instruct model.
    own = {file.name for file in model} >= {"tokenizer.json", "tokenizer_config.json"}
    tokens = Tokens(model[0].parent if own else base[0].parent)
    asked = [line for line in questions.read_text(encoding="utf-8").splitlines() if line.strip()]
    found: dict[str, Any] = {"checkpoint": name, "chat_template": tokens.has_chat}
    progress = Progress(len(texts) + len(chats) + 1, "part")

    with loaded_model(base, model, base_names, dtype, whole=True) as network:
        for key, measure, files in (
            ("texts", _text, texts),
            ("chats", _chat, chats if tokens.has_chat else ()),
        ):
            found[key] = {}
            for file in files:
                measured = measure(network, tokens, file, documents, max_tokens, name)
                found[key][file.parent.name] = measured
                progress.step(file.parent.name)
        found["answers"] = [_answers(network, tokens, question, new_tokens) for question in asked]
        progress.step("questions")

    write_json(evaluation, found)


def _text(
    network: Any, tokens: Tokens, file: Path, documents: int, max_tokens: int, name: str
) -> dict[str, Any]:
    ids = [tokens.prompt(row["text"])[:max_tokens] for row in read_jsonl(file)[:documents]]
    ids = [text for text in ids if len(text) > 1]
    if not ids:
        raise AtlasError(f"{file}: has no text of two tokens.")
    return {"documents": len(ids), "tokens": sum(len(text) - 1 for text in ids),
            "perplexity": perplexity(network, ids, name)}  # fmt: skip


def _chat(
    network: Any, tokens: Tokens, file: Path, documents: int, max_tokens: int, name: str
) -> dict[str, Any]:
    total, count, rows = 0.0, 0, 0
    for row in read_jsonl(file):
        ids, start = tokens.exchange(row["messages"])
        if len(ids) > max_tokens:
            continue
        total += negative_log_likelihood(network, ids, start)
        count += len(ids) - start
        rows += 1
        if rows == documents:
            break
    if not rows:
        raise AtlasError(
            f"{file}: no conversation fits into {max_tokens} tokens; raise perplexity.max_tokens."
        )
    if not math.isfinite(total):
        raise AtlasError(f"{name}: its loss on {file.parent.name} is {total}.")
    return {"rows": rows, "tokens": count, "loss": total / count}


@torch.inference_mode()
def _answers(network: Any, tokens: Tokens, question: str, new_tokens: int) -> dict[str, Any]:
    """Greedy answers to a question as plain text and in the chat template."""
    found: dict[str, Any] = {"question": question}
    prompts = {"plain": tokens.prompt(question)}
    if tokens.has_chat:
        prompts["chat"] = tokens.chat([{"role": "user", "content": question}], prompt=True)
    device = next(network.parameters()).device
    for kind, ids in prompts.items():
        row = torch.tensor([ids], device=device)
        output = network.generate(
            input_ids=row, attention_mask=torch.ones_like(row), do_sample=False, num_beams=1,
            max_new_tokens=new_tokens, temperature=None, top_p=None, top_k=None,
            pad_token_id=tokens.padding, eos_token_id=tokens.end,
        )[0, len(ids) :].tolist()  # fmt: skip
        found[kind] = tokens.decode(output).strip()
        found[f"{kind}_ended"] = tokens.end in output
    return found
