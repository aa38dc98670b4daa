"""Features of bases and models on the probes: what the Delta-X family is made of.

Delta-X is the family of arXiv 2509.04442: any feature of a model minus that of its base. No
source states how the features other than the last hidden state are computed in detail: what is
here is our reading.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.activations.activation_files import Array
from atlas.activations.continuations import Continuations, read_continuations
from atlas.activations.feature_files import feature_file, kept_features
from atlas.activations.last_tokens import Probe
from atlas.activations.probes import read_probes
from atlas.errors import AtlasError
from atlas.kept import NOTHING, Kept
from atlas.networks.shards import LoadedBase, of_each
from atlas.networks.virtual_tokens import virtual_tokens

AT_ONCE = 4  # models that advance together, each with keys and values of its continuations


def compute_features(
    *, probes: Path, continuations: Path, features: Path, kept: Kept = NOTHING, **shard: Any
) -> None:
    """Features of the models of one shard and of their bases, as :mod:`atlas.activations.feature_files` says.

    Each base is loaded once, and each model's features are written as soon as they are there.

    :param continuations: what ``atlas.activations.continuations:sample_continuations`` wrote.
    :param kept: models whose features are there already.
    :param shard: what is loaded (:func:`atlas.networks.shards.loaded_bases`).
    :raises AtlasError: where a feature is NaN or Inf, or a model is not one of its base.
    """
    prompts = read_probes(probes)
    rows = read_continuations(continuations, len(prompts))

    def prepare(base: LoadedBase) -> Callable[[Any, str], dict[str, Array]]:
        probe = Probe(base.folder, prompts, base.network)
        continued = Continuations(base.folder, prompts, rows, base.network)

        def read(network: Any, name: str) -> dict[str, Array]:
            return on_probes(network, probe, name) | {"meaning": continued.meaning(network, name)}

        return read

    with kept_features(kept) as old, feature_file(features, prompts, rows) as write:
        for group, name, found in of_each(prepare, old, kept, at_once=AT_ONCE, **shard):
            write(f"{group}/{name}", found)


@torch.inference_mode()
def on_probes(network: Any, probe: Probe, where: str) -> dict[str, Array]:
    """Features of the network, as it is now, on the probes: layers, weighted and logits, float32.

    ``weighted`` is sum(i h_i) / sum(i) over the hidden states h_i of the tokens i = 1..n, the
    start token among them, as in SGPT (N. Muennighoff, arXiv 2202.08904).

    :raises AtlasError: where a feature is NaN or Inf.
    """
    rows: list[dict[str, torch.Tensor]] = [{} for _ in probe.ids]
    for group, tokens, ends in probe.inputs:
        # Where probes of several lengths share a batch, the logits of each length are kept.
        kept, before = ends.unique(), virtual_tokens(network)
        output = network(
            input_ids=tokens, use_cache=False, output_hidden_states=True,
            logits_to_keep=kept + before,
        )  # fmt: skip
        hidden = [state[:, before:] for state in output.hidden_states]
        places = torch.arange(len(group), device=tokens.device)
        layers = torch.stack([state[places, ends].float() for state in hidden], dim=1)
        positions = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        weights = positions.where(positions <= ends[:, None] + 1, 0).float()
        weights = weights / weights.sum(dim=1, keepdim=True)
        weighted = (hidden[-1].float() * weights[..., None]).sum(dim=1)
        logits = output.logits[places, torch.searchsorted(kept, ends)].float()
        for k, i in enumerate(group):
            rows[i] = {"layers": layers[k], "weighted": weighted[k], "logits": logits[k]}
    found: dict[str, Array] = {}
    for key in ("layers", "weighted", "logits"):
        array = torch.stack([row[key] for row in rows], dim=int(key == "layers")).cpu().numpy()
        if not np.isfinite(array).all():
            raise AtlasError(f"{where}: {key} has NaN or Inf.")
        found[key] = np.ascontiguousarray(array, dtype=np.float32)
    return found
