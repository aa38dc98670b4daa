"""Activations of bases and models on the probes, shard by shard.

The activation of a probe is the last element of ``hidden_states`` (after the final norm where
the architecture has one) at the last token, in float32. A sequence-to-sequence model reads the
probe in its encoder; its activation is that of its decoder at the first token (our reading: the
published work does not say).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.activations.activation_files import Array, kept_activations, write_activations
from atlas.activations.probes import read_probes
from atlas.errors import AtlasError
from atlas.kept import NOTHING, Kept
from atlas.networks.architectures import body_of, decoder_start, device_of
from atlas.networks.by_layer import unread_refused
from atlas.networks.shards import LoadedBase, of_each
from atlas.networks.tokens import Tokens, batches, hides_padding, padded, padding_is_exact
from atlas.networks.virtual_tokens import is_wrapped, virtual_tokens

SMALL = 4_000_000  # parameters
Batch = tuple[list[int], torch.Tensor, torch.Tensor]


class Probe:
    """The probes as tokens of one base, in the batches in which they run."""

    def __init__(self, folder: Path, prompts: Sequence[str], network: Any) -> None:
        tokens = Tokens(folder)
        self.ids = [tokens.prompt(prompt) for prompt in prompts]
        if network.config.is_encoder_decoder:
            self.ids = [tokens.encoder(ids) for ids in self.ids]
        self._device = device_of(network)
        # A batch saves reading the weights again; those of a small network are in the cache.
        small = sum(parameter.numel() for parameter in network.parameters()) < SMALL
        self._padded = not small and padding_is_exact(network)
        self.inputs = self._batched(self._padded, alone=small)

    def _batched(self, exact: bool, alone: bool = False) -> list[Batch]:
        """The probes in batches: their numbers, their tokens, and where each has its last one."""
        lengths = [len(ids) for ids in self.ids]
        found = []
        for group in [[i] for i in range(len(lengths))] if alone else batches(lengths, exact):
            ends = torch.tensor([lengths[i] - 1 for i in group], device=self._device)
            # Padding stands after the last real token, where a causal model cannot see it.
            found.append((group, padded([self.ids[i] for i in group], 0, self._device), ends))
        return found

    @torch.inference_mode()
    def last_token(self, network: Any, where: str) -> Array:
        """Activations (n_probes, d) float32 of the network as it is now.

        :raises AtlasError: where an activation is NaN or Inf, a probe has a token that is unknown, or the
            network cannot be read layer by layer.
        """
        known, highest = network.get_input_embeddings().weight.shape[0], max(map(max, self.ids))
        if highest >= known:
            raise AtlasError(
                f"{where}: has {known} tokens, and the probes have the token {highest} of its base: its "
                "vocabulary was cut down; leave it out."
            )
        rows: dict[int, torch.Tensor] = {}
        # A full model may differ from its base in what its tokens see.
        plain = not self._padded or hides_padding(network)
        for group, tokens, ends in self.inputs if plain else self._batched(exact=False):
            with unread_refused(network, where):
                picked = _last_hidden_state(network, tokens, ends).float()
            rows |= zip(group, picked, strict=True)
        found = torch.stack([rows[i] for i in range(len(self.ids))]).cpu().numpy()
        if not np.isfinite(found).all():
            raise AtlasError(f"{where}: its activations have NaN or Inf.")
        return np.asarray(found, dtype=np.float32)


def _last_hidden_state(network: Any, tokens: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """The last hidden state (n, d) at the last token, or at the first one of a decoder."""
    if network.config.is_encoder_decoder:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        # A head, and what a head adds, are read by nobody.
        output = (network if is_wrapped(network) else network.base_model)(
            input_ids=tokens, attention_mask=(places <= ends[:, None]).long(), use_cache=False,
            decoder_input_ids=torch.full_like(tokens[:, :1], decoder_start(network)),
            output_hidden_states=True,
        )  # fmt: skip
        return output.decoder_hidden_states[-1][:, 0]
    if is_wrapped(network):
        output = network(input_ids=tokens, use_cache=False, output_hidden_states=True)
        hidden = output.hidden_states[-1][:, virtual_tokens(network) :]
    else:
        hidden = body_of(network)(input_ids=tokens, use_cache=False).last_hidden_state
    return hidden[torch.arange(len(ends), device=hidden.device), ends]


def compute_shard(*, probes: Path, activations: Path, kept: Kept = NOTHING, **shard: Any) -> None:
    """Activations of the models of one shard and of their bases; each base is loaded once.

    :param kept: models whose activations are there already.
    :param shard: what is loaded (:func:`atlas.networks.shards.loaded_bases`).
    """
    prompts = read_probes(probes)

    def prepare(base: LoadedBase) -> Callable[[Any, str], Array]:
        return Probe(base.folder, prompts, base.network).last_token

    found = kept_activations(kept)

    def read(group: str, name: str) -> Array:
        return found[group][name]

    for group, name, array in of_each(prepare, read, kept, **shard, seq2seq=True):
        found[group][name] = array
    write_activations(activations, prompts, **found)
