"""What models write to the probes, shard by shard, and greedy decoding."""

from itertools import product
from pathlib import Path
from typing import Any

import torch

from atlas.activations.probes import read_probes
from atlas.files import write_jsonl
from atlas.networks.shards import loaded_bases
from atlas.networks.tokens import Tokens, batches, padded, padding_is_exact
from atlas.networks.virtual_tokens import is_wrapped

ROWS = 80  # texts written at a time: their keys and values stay well below the size of a base


def generate_shard(*, probes: Path, new_tokens: int, sentences: Path, **shard: Any) -> None:
    """What each model of a shard writes to each probe: greedy, at most `new_tokens` tokens.

    In float32 on a CPU, adapters that are alike write together: rounding is all that other rows of
    a batch can change there, and a text only where two tokens are equally likely to its last digits.

    Rows: model, probe (its number, from 0), text.

    :param shard: what is loaded (:func:`atlas.networks.shards.loaded_bases`).
    """
    prompts = read_probes(probes)
    rows = []
    for base in loaded_bases(**shard, seq2seq=True, whole=True):
        tokens = Tokens(base.folder)
        ids = [tokens.prompt(prompt) for prompt in prompts]
        # Each step reads all weights of the base, whatever the number of rows.
        exact = padding_is_exact(base.network)
        for names in base.groups(max(1, ROWS // len(ids)) if exact else 1):
            texts = greedy(base.network, tokens, ids * len(names), new_tokens)
            rows += [
                {"model": name, "probe": i, "text": text}
                for (name, i), text in zip(product(names, range(len(ids))), texts, strict=True)
            ]
    write_jsonl(sentences, sorted(rows, key=lambda row: (row["model"], row["probe"])))


@torch.inference_mode()
def greedy(
    network: Any, tokens: Tokens, prompts: list[list[int]], new_tokens: int, end: int | None = None
) -> list[str]:
    """Greedy continuations of prompts given as tokens.

    :param network: causal; or sequence-to-sequence, which reads the prompts in its encoder.
    :param end: the token that ends a continuation (default: that of the network).
    """
    device = next(network.parameters()).device
    seq2seq = network.config.is_encoder_decoder
    if seq2seq:
        prompts = [tokens.encoder(prompt) for prompt in prompts]
    texts = [""] * len(prompts)
    ending = {} if end is None else {"eos_token_id": end}
    # Prompts stand at the end of their rows; in an encoder at the start, as in training.
    turn = 1 if seq2seq else -1
    # Before virtual tokens, padding would stand between them and the text.
    exact = padding_is_exact(network) and not is_wrapped(network)
    for group in batches([len(p) for p in prompts], exact):
        rows = [prompts[i][::turn] for i in group]
        mask = padded([[1] * len(row) for row in rows], 0, device)
        ids = padded(rows, tokens.padding, device)
        width = ids.shape[1]
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
