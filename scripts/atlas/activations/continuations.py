"""Continuations of the probes: sampled once from one base, scored by every model.

Score: the log of the inverse perplexity, as T. Y. Liu et al. (arXiv 2310.18348) score
trajectories. That one named base samples them, and that models with other tokenizers score
them as text, is our reading; no source states it.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.activations.activation_files import Array
from atlas.activations.probes import read_probes
from atlas.errors import AtlasError
from atlas.files import read_jsonl, write_jsonl
from atlas.guarded_tokenizers import GuardedTokenizer
from atlas.networks.architectures import device_of
from atlas.networks.swap import load_base
from atlas.networks.tokens import Tokens, batches, padded, padding_is_exact
from atlas.networks.virtual_tokens import is_wrapped, virtual_tokens
from atlas.progress import Progress

ROWS = 16  # continuations scored at a time: their logits are the largest thing in memory


def sample_continuations(
    *, probes: Path, base: list[Path], dtype: str, per_probe: int, new_tokens: int, seed: int,
    continuations: Path
) -> None:  # fmt: skip
    """Sample `per_probe` continuations of `new_tokens` tokens of each probe from one base.

    Temperature 1, from the whole distribution over tokens that are text (top-k 0): special
    tokens, the end among them, are left out, so that every continuation has its full length.
    Each probe has random numbers of its own, and continuation k is the same whatever
    `per_probe` is.

    Rows: probe (its number, from 0), index (within the probe, from 0), text.

    :raises AtlasError: where a continuation has no text.
    """
    prompts = read_probes(probes)
    folder = base[0].parent
    network = load_base(folder, dtype)
    tokens, allowed = Tokens(folder), text_tokens(folder)
    rows: list[dict[str, Any]] = []
    progress = Progress(len(prompts), "probe")
    for i, prompt in enumerate(prompts):
        # By inversion of the distribution function, which no release of a library changes.
        uniform = np.random.default_rng([seed, i]).random((per_probe, new_tokens))
        for index, ids in enumerate(_sample(network, allowed, tokens.prompt(prompt), uniform)):
            text = tokens.decode(ids)
            if not text:
                raise AtlasError(
                    f"{folder.name}: continuation {index} of probe {i} has no text; set "
                    "another seed, or more new tokens."
                )
            rows.append({"probe": i, "index": index, "text": text})
        progress.step()
    write_jsonl(continuations, rows)


def text_tokens(folder: Path) -> list[int]:
    """Tokens of a tokenizer that are text: all but the special ones, in order."""
    backend = GuardedTokenizer(folder / "tokenizer.json").backend
    special = {i for i, token in backend.get_added_tokens_decoder().items() if token.special}
    return sorted(set(backend.get_vocab().values()) - special - {Tokens(folder).end})


@torch.inference_mode()
def _sample(
    network: Any, allowed: list[int], prompt: list[int], uniform: np.ndarray[Any, Any]
) -> list[list[int]]:
    cache, logits = _prefix(network, prompt)
    cache.batch_repeat_interleave(len(uniform))
    current = logits.expand(len(uniform), -1)
    # A network may have fewer rows than its tokenizer has tokens, and the other way round.
    text = np.array([i for i in allowed if i < current.shape[-1]])
    columns: list[np.ndarray[Any, Any]] = []
    for step in range(uniform.shape[1]):
        columns.append(_draw(current.double().cpu().numpy(), text, uniform[:, step]))
        if step + 1 < uniform.shape[1]:
            ids = torch.from_numpy(columns[-1][:, None]).to(current.device)
            current = network(input_ids=ids, past_key_values=cache, use_cache=True).logits[:, -1]
    return [[int(i) for i in row] for row in np.stack(columns, axis=1)]


def _draw(
    logits: np.ndarray[Any, Any], text: np.ndarray[Any, Any], uniform: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """One of the tokens `text` per row of logits (n, vocabulary), by uniform numbers (n,)."""
    picked = logits[:, text]
    if not np.isfinite(picked).all():
        raise AtlasError("the base that samples the continuations has logits of NaN or Inf.")
    below = np.exp(picked - picked.max(axis=1, keepdims=True)).cumsum(axis=1)
    pairs = zip(below, uniform, strict=True)
    places = [np.searchsorted(row, u * row[-1], side="right") for row, u in pairs]
    return np.asarray(text[np.minimum(places, len(text) - 1)])


def read_continuations(file: Path, probes: int) -> list[dict[str, Any]]:
    """Continuations sorted by probe and index.

    :raises AtlasError: where a continuation is of none of so many probes.
    """
    rows = sorted(read_jsonl(file), key=lambda row: (row["probe"], row["index"]))
    for row in rows:
        if not 0 <= row["probe"] < probes:
            raise AtlasError(
                f"{file}: a continuation is of probe {row['probe']}, and there are {probes} probes."
            )
    return rows


class Continuations:
    """Continuations as tokens of one base, each after its probe.

    Probe and continuation become tokens apart from each other, the continuation without special
    tokens: which tokens are scored depends on no merge across the boundary.

    :raises AtlasError: where a continuation has no tokens.
    """

    def __init__(
        self, folder: Path, prompts: Sequence[str], rows: Sequence[dict[str, Any]], network: Any
    ) -> None:
        tokens = Tokens(folder)
        self.prompts = [tokens.prompt(prompt) for prompt in prompts]
        self.ids = [tokens.text(row["text"], close=False) for row in rows]
        self.of = [row["probe"] for row in rows]
        for row, ids in zip(rows, self.ids, strict=True):
            if not ids:
                raise AtlasError(
                    f"{folder.name}: its tokenizer gives continuation {row['index']} of probe "
                    f"{row['probe']} no tokens; sample the continuations with another seed."
                )
        self._exact = padding_is_exact(network)

    def _batches(self, probe: int) -> list[list[int]]:
        """Positions in `ids` of the continuations of a probe, in the batches in which they run."""
        own = sorted((i for i, p in enumerate(self.of) if p == probe),
                     key=lambda i: len(self.ids[i]))  # fmt: skip
        batched = batches([len(self.ids[i]) for i in own], self._exact) if own else []
        groups = [[own[k] for k in group] for group in batched]
        return [g[at : at + ROWS] for g in groups for at in range(0, len(g), ROWS)]

    @torch.inference_mode()
    def meaning(self, network: Any, where: str) -> Array:
        """Log of the inverse perplexity of each continuation given its probe.

        :returns: (n_continuations,) float32, in nats per token.
        :raises AtlasError: where one is NaN or Inf.
        """
        found = np.zeros(len(self.ids))
        for probe, prompt in enumerate(self.prompts):
            groups = self._batches(probe)
            if not groups:
                continue
            if is_wrapped(network):
                # What stands before the probe stands there once: no keys and values are shared.
                for group in groups:
                    rows = [self.ids[i] for i in group]
                    found[group] = _after_prompt(network, prompt, rows)
                continue
            # All continuations of a probe share its keys and values: it is computed once.
            cache, logits = _prefix(network, prompt)
            first = logits.log_softmax(dim=-1)
            for group in groups:
                rows = [self.ids[i] for i in group]
                found[group] = _mean_log_probability(network, copy.deepcopy(cache), first, rows)
        if not np.isfinite(found).all():
            raise AtlasError(f"{where}: its log-probabilities have NaN or Inf.")
        return found.astype(np.float32)


def _prefix(network: Any, prompt: list[int]) -> tuple[Any, torch.Tensor]:
    """Keys and values of a prompt, and the logits (vocabulary,) float32 after it."""
    device = device_of(network)
    ids = torch.tensor([prompt], device=device)
    output = network(input_ids=ids, use_cache=True, logits_to_keep=1)
    return output.past_key_values, output.logits[0, -1].float()


def _after_prompt(network: Any, prompt: list[int], rows: list[list[int]]) -> np.ndarray[Any, Any]:
    """As :func:`_mean_log_probability`, with the prompt before each row."""
    device = device_of(network)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    ids = padded([[*prompt, *row] for row in rows], 0, device)
    start = len(prompt)
    logits = network(input_ids=ids, use_cache=False).logits[:, virtual_tokens(network) :]
    picked = logits[:, start - 1 : -1].float().log_softmax(dim=-1)
    picked = picked.gather(-1, ids[:, start:, None])[..., 0].double()
    real = torch.arange(picked.shape[1], device=device) < lengths[:, None]
    return np.asarray((picked.where(real, 0.0).sum(dim=-1) / lengths).cpu().numpy())


def _mean_log_probability(
    network: Any, cache: Any, first: torch.Tensor, rows: list[list[int]]
) -> np.ndarray[Any, Any]:
    """Of each row of tokens, after a prompt with this cache and these first log-probabilities."""
    lengths = torch.tensor([len(row) for row in rows], device=first.device)
    width = int(lengths.max())
    # Padding stands after the last real token, where a causal model cannot see it.
    ids = padded(rows, 0, first.device)
    total = first[ids[:, 0]].double()
    if width > 1:
        cache.batch_repeat_interleave(len(rows))
        logits = network(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True).logits
        logits = logits.float()
        picked = logits.gather(-1, ids[:, 1:, None])[..., 0] - logits.logsumexp(dim=-1)
        real = torch.arange(1, width, device=first.device) < lengths[:, None]
        total = total + picked.double().where(real, 0.0).sum(dim=-1)
    return np.asarray((total / lengths).cpu().numpy())
