"""What models write to the probes, shard by shard, and greedy decoding."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import Any

import torch

from atlas.activations.near_ties import NearTies, RoundingError
from atlas.activations.probes import read_probes
from atlas.files import read_jsonl, write_jsonl
from atlas.kept import NOTHING, Kept
from atlas.networks.architectures import is_routed
from atlas.networks.shards import Group, loaded_bases
from atlas.networks.tokens import Tokens, batches, padded, padding_is_exact
from atlas.networks.virtual_tokens import is_wrapped
from atlas.progress import say

ROWS = 80  # texts written at a time: their keys and values stay well below the size of a base


def generate_shard(
    *,
    probes: Path,
    new_tokens: int,
    sentences: Path,
    kept: Kept = NOTHING,
    models: Sequence[dict[str, Any]],
    **shard: Any,
) -> None:
    """What each model of a shard writes to each probe: greedy, at most `new_tokens` tokens.

    Plain adapters write together, all other models one after another; no text hangs on the other
    models of the shard (:mod:`atlas.activations.near_ties`).

    Rows: model, probe (its number, from 0), text.

    :param kept: models whose texts are there already.
    :param models, shard: what is loaded (:func:`atlas.networks.shards.loaded_bases`).
    """
    prompts = read_probes(probes)
    rows: list[dict[str, Any]] = []
    if kept.models:
        rows += (r for r in read_jsonl(kept.files["sentences"]) if r["model"] in kept.models)
    for base in loaded_bases(models=kept.others(models), **shard, seq2seq=True, whole=True):
        tokens = Tokens(base.folder)
        ids = [tokens.prompt(prompt) for prompt in prompts]
        # Each step reads all weights of the base, whatever the number of rows.
        for group in base.groups(1 if _jumps(base.network) else max(1, ROWS // len(ids))):
            texts = written(base.network, tokens, ids, group, new_tokens)
            rows += [
                {"model": name, "probe": i, "text": text}
                for (name, i), text in zip(
                    product(group.names, range(len(ids))), texts, strict=True
                )
            ]
    write_jsonl(sentences, sorted(rows, key=lambda row: (row["model"], row["probe"])))


def written(
    network: Any, tokens: Tokens, prompts: list[list[int]], group: Group, new_tokens: int
) -> list[str]:
    """What the models of a group write to each prompt: all of the first, and so on.

    :param network: computes as the group.
    """
    count = len(prompts)
    if group.together is None or _jumps(network):
        return greedy(network, tokens, prompts, new_tokens)

    def alone(row: int) -> AbstractContextManager[None]:
        return group.alone(row // count)

    try:
        return greedy(network, tokens, prompts * len(group.names), new_tokens, alone=alone)
    except RoundingError:
        say(
            f"{', '.join(group.names)}: what they compute together is further off than rounding, so "
            "that each token is computed alone"
        )
        return greedy(
            network, tokens, prompts * len(group.names), new_tokens, alone=alone, units=torch.inf
        )


def _jumps(network: Any) -> bool:
    """Whether rounding may move a logit by more than rounding: it may send a token to another expert."""
    return is_routed(network) and network.dtype != torch.float32


@torch.inference_mode()
def greedy(
    network: Any, tokens: Tokens, prompts: list[list[int]], new_tokens: int, end: int | None = None,
    *, alone: Callable[[int], AbstractContextManager[None]] | None = None, units: float | None = None
) -> list[str]:  # fmt: skip
    """Greedy continuations of prompts given as tokens.

    :param network: causal; or sequence-to-sequence, which reads the prompts in its encoder.
    :param end: the token that ends a continuation (default: that of the network).
    :param alone: row -> a context within which the network computes it alone. With it, all prompts
        run as one batch, and no row hangs on the others (:class:`NearTies`, which takes `units`).
    """
    device = next(network.parameters()).device
    seq2seq = network.config.is_encoder_decoder
    if seq2seq:
        prompts = [tokens.encoder(prompt) for prompt in prompts]
    texts = [""] * len(prompts)
    ending: dict[str, Any] = {} if end is None else {"eos_token_id": end}
    # Prompts stand at the end of their rows; in an encoder at the start, as in training.
    turn = 1 if seq2seq else -1
    # Before virtual tokens, padding would stand between them and the text.
    exact = alone is not None or (padding_is_exact(network) and not is_wrapped(network))
    for group in batches([len(p) for p in prompts], exact):
        rows = [prompts[i][::turn] for i in group]
        mask = padded([[1] * len(row) for row in rows], 0, device)
        ids = padded(rows, tokens.padding, device)
        width = ids.shape[1]
        if alone is not None:
            ending["logits_processor"] = [
                NearTies(network, prompts, _ends(network, end), alone, units)
            ]
        output = network.generate(
            input_ids=ids if seq2seq else ids.flip(1),
            attention_mask=mask if seq2seq else mask.flip(1),
            do_sample=False, num_beams=1, max_new_tokens=new_tokens, min_new_tokens=0,
            temperature=None, top_p=None, top_k=None, repetition_penalty=1.0,
            pad_token_id=tokens.padding, **ending,
        )  # fmt: skip
        for i, row in zip(group, output, strict=True):
            texts[i] = tokens.decode(row[0 if seq2seq else width :].tolist())
    return texts


def _ends(network: Any, end: int | None) -> list[int]:
    found = network.generation_config.eos_token_id if end is None else end
    return found if isinstance(found, list) else [] if found is None else [found]
