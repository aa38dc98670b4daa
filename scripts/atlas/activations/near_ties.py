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


class RoundingError(Exception):
    """Rows of a batch are further off than is told apart here."""


class NearTies(LogitsProcessor):  # type: ignore[misc]
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
        self.ends = torch.tensor(list(ends), device=network.device)
        self.open = torch.ones(len(prompts), dtype=torch.bool, device=network.device)
        self.decided = 0  # tokens
        self.furthest = 0.0  # of what the margin allows

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, vocabulary) float32, in which what was decided alone is the largest."""
        low, best = torch.aminmax(scores, dim=1)
        if low.isinf().any():  # tokens that are not allowed
            low = scores.masked_fill(scores.isinf(), 0.0).amin(dim=1)
        margin = self.rounding * torch.maximum(low.abs(), best.abs())
        near = scores >= (best - margin)[:, None]
        for row in ((near.sum(dim=1) > 1) & self.open).nonzero()[:, 0].tolist():
            tokens = near[row].nonzero()[:, 0]
            found = self._read(row, input_ids[row])[tokens]
            off = found - scores[row, tokens]
            self.decided += 1
            self.furthest = max(self.furthest, float((off.max() - off.min()) / margin[row]))
            if self.furthest > 1:
                raise RoundingError
            scores[row, tokens[found.argmax()]] = torch.inf
        self.open &= ~torch.isin(scores.argmax(dim=1), self.ends)
        return scores

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
