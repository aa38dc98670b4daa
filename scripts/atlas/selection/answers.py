"""Rows of a task: the loss of a network on a few of them, its answers, and whether they are right."""

from collections.abc import Sequence
from typing import Any

import torch

from atlas.activations.generation import greedy
from atlas.networks.tokens import Tokens, padded

BATCH = 16  # rows that are answered at once


@torch.inference_mode()
def examples_loss(network: Any, tokens: Tokens, rows: Sequence[dict[str, Any]]) -> float:
    """The published loss of a few examples, in nats.

    They run as one batch; the cross-entropy is the mean over the tokens of all completions, and
    the published code divides it by the number of examples once more. So does this.

    :param rows: ``input_ids`` and ``completion_start`` (:mod:`atlas.datasets.training_rows`).
    """
    device = next(network.parameters()).device
    pairs = [(r["input_ids"][: r["completion_start"]], r["input_ids"][r["completion_start"] :])
             for r in rows]  # fmt: skip
    if network.config.is_encoder_decoder:
        read = [tokens.encoder(prompt) for prompt, _ in pairs]
        labels = padded([completion for _, completion in pairs], -100, device)
        output = network(
            input_ids=padded(read, tokens.padding, device),
            attention_mask=padded([[1] * len(r) for r in read], 0, device),
            labels=labels, use_cache=False,
        )  # fmt: skip
        return float(output.loss.float()) / len(rows)
    whole = [prompt + completion for prompt, completion in pairs]
    labels = padded([[-100] * len(p) + c for p, c in pairs], -100, device)[:, 1:]
    positions = (labels != -100).any(dim=0).nonzero().reshape(-1)
    logits = network(
        input_ids=padded(whole, tokens.padding, device),
        attention_mask=padded([[1] * len(w) for w in whole], 0, device),
        use_cache=False, logits_to_keep=positions,
    ).logits  # fmt: skip
    loss = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), labels[:, positions].flatten(), ignore_index=-100
    )
    return float(loss) / len(rows)


def answers(network: Any, tokens: Tokens, prompts: Sequence[str], new_tokens: int) -> list[str]:
    """Greedy answers to prompts."""
    found: list[str] = []
    for start in range(0, len(prompts), BATCH):
        ids = [tokens.prompt(prompt) for prompt in prompts[start : start + BATCH]]
        found += greedy(network, tokens, ids, new_tokens, end=tokens.end)
    return found


def exact_match(answer: str, truth: str) -> bool:
    """Whether an answer is the right one, as the published code compares them.

    White space around it, case, and full stops do not count.
    """
    one, other = (text.strip().lower().replace(".", "") for text in (answer, truth))
    return one == other
