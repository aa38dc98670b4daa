"""Greedy decoding whose rows do not hang on what else is in their batch.

The rows beside it move a row's logits by rounding, and that changes its next token only where two
are about equally likely. There the row is read once more, by itself and from its start, and that
reading decides. So each token is the one that its model gives the text so far when it reads it
alone, whoever writes beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from transformers import LogitsProcessor

# How far from the largest logit a token may be and still be the next, in units of the rounding of the
# largest logit in absolute value. On SmolLM2-135M, rows of one batch are at most 8 units off in
# float32, and 3 in bfloat16, whose products are summed in float32.
UNITS = {torch.float32: 64.0, torch.bfloat16: 8.0, torch.float16: 8.0}
TRIED = 2  # the step at which one row is read alone though nothing is near


class RoundingError(Exception):
    """Rows of a batch are further off than is told apart here."""


class NearTies(LogitsProcessor):
    """What transformers asks for the scores of the next tokens, step by step.

    :param prompts: tokens of the rows; of a sequence-to-sequence network, those of its encoder.
    :param alone: row -> a context within which the network computes it alone.
    :param ends: tokens that end a row.
    :param units: as :data:`UNITS` has them; infinite: each token is decided alone.
    """

    def __init__(
        self, network: Any, prompts: Sequence[list[int]], ends: Sequence[int],
        alone: Callable[[int], AbstractContextManager[None]], units: float | None = None,
    ) -> None:  # fmt: skip
        self.network, self.prompts, self.alone = network, prompts, alone
        units = UNITS[network.dtype] if units is None else units
        self.rounding = units * torch.finfo(network.dtype).eps
        self.ends = torch.tensor(list(ends), dtype=torch.long, device=network.device)
        self.open = torch.ones(len(prompts), dtype=torch.bool, device=network.device)
        self.step = self.decided = 0  # steps and tokens
        self.furthest = 0.0  # of what the margin allows

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, vocabulary) float32, in which what was decided alone is the largest."""
        low, best = torch.aminmax(scores, dim=1)
        if low.isinf().any():  # tokens that are not allowed
            low = scores.masked_fill(scores.isinf(), 0.0).amin(dim=1)
        margin = self.rounding * torch.maximum(low.abs(), best.abs())
        near = scores >= (best - margin)[:, None]
        wanted = (near.sum(dim=1) > 1) & self.open
        self.step += 1
        if self.step == TRIED and not wanted.any() and self.open.any():
            row = int(self.open.nonzero()[-1])
            self._compare(
                row, input_ids[row], scores[row], scores[row].topk(2).indices, margin[row]
            )
        for row in wanted.nonzero()[:, 0].tolist():
            tokens = near[row].nonzero()[:, 0]
            found = self._compare(row, input_ids[row], scores[row], tokens, margin[row])
            self.decided += 1
            scores[row, tokens[found.argmax()]] = torch.inf
        self.open &= ~torch.isin(scores.argmax(dim=1), self.ends)
        return scores

    def _compare(
        self, row: int, ids: torch.Tensor, scores: torch.Tensor, tokens: torch.Tensor,
        margin: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Logits of some tokens when a row is read alone.

        :raises RoundingError: where what lies between them in the batch is further off than the margin.
        """
        found = self._read(row, ids)[tokens]
        off = found - scores[tokens]
        self.furthest = max(self.furthest, float((off.max() - off.min()) / margin))
        if self.furthest > 1:
            raise RoundingError
        return found

    def _read(self, row: int, ids: torch.Tensor) -> torch.Tensor:
        """Logits (vocabulary,) float32 of the next token of one row."""
        prompt = torch.tensor([self.prompts[row]], device=ids.device)
        if self.network.config.is_encoder_decoder:
            whole = {"input_ids": prompt, "decoder_input_ids": ids[None]}
        else:
            width = max(len(p) for p in self.prompts)
            whole = {"input_ids": torch.cat([prompt, ids[None, width:]], dim=1)}
        with self.alone(row):
            logits: torch.Tensor = self.network(**whole, use_cache=False).logits[0, -1]
        return logits.float()
