"""How the last token's activation answers to small perturbations of the input embeddings.

The published code perturbs by now, too, by putting random tokens in the place of some; before, it had
a placeholder there. What is here is our reading of the idea, with the number of directions and the
relative size of that placeholder: a token is no small step, and a second difference needs one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.errors import AtlasError
from atlas.files import write_csv
from atlas.geometry.residual_streams import prompt_tokens, streams
from atlas.geometry.stream_files import USUAL, hook_names, hook_place
from atlas.networks.architectures import device_of
from atlas.networks.shards import loaded_model
from atlas.progress import Progress

Array = np.ndarray[Any, Any]
BATCH_TOKENS = 4096
COLUMNS = ("layer", "hook", "prompt", "tokens", "local_curvature", "sensitivity")


@dataclass(frozen=True)
class Response:
    """Of each prompt at each hook, (n_prompts, n_hooks) float64, in the order of ``hooks``.

    With x the embeddings (tokens, d) of a prompt, f(x) the activation at its last token, and e a
    random direction of all embeddings together with ||e|| = radius ||x||, means over e of:

    ``curvature``: ||f(x + e) + f(x - e) - 2 f(x)|| / ||e||^2, the second-order response: 0 where f
    is affine.
    ``sensitivity``: (||f(x + e) - f(x)|| / ||e||)^2, the first-order response, which is what the
    published code means to compute (there divided by the relative size alone).
    """

    hooks: list[str]
    curvature: Array
    sensitivity: Array


@torch.inference_mode()
def local_curvature(
    network: Any,
    ids: Sequence[Sequence[int]],
    seed: int,
    directions: int = 20,
    radius: float = 0.01,
    wanted: Collection[str] = USUAL,
) -> Response:
    """Responses of a network to perturbations of the embeddings of prompts.

    The directions are normally distributed and depend on seed, number and length of the prompt
    alone: a base and its models are perturbed alike.

    :param network: a causal model in float32 or float64. A second difference would drown in the
        rounding of a shorter format. :param ids: tokens of each prompt.
    :param directions, radius: perturbations of a prompt, and their size as a share of the norm of
        the embeddings; as published. :param wanted: streams of each block.
    :raises AtlasError: for another precision, or where a response is NaN or Inf.
    """
    parameter = next(network.parameters())
    if parameter.dtype not in (torch.float32, torch.float64):
        name = str(parameter.dtype).removeprefix("torch.")
        raise AtlasError(
            f"local curvature is a second difference, which {name} cannot resolve; load the "
            "network in float32."
        )
    found: list[tuple[Array, Array]] = []
    progress = Progress(len(ids), "prompt")
    for number, row in enumerate(ids):
        tokens = torch.tensor([list(row)], device=device_of(network))
        start = network.get_input_embeddings()(tokens)
        noise = np.random.default_rng([seed, number]).normal(size=(directions, *start.shape[1:]))
        sizes = np.sqrt((noise**2).sum(axis=(1, 2), keepdims=True))
        noise *= radius * float(start.double().norm()) / sizes
        moves = torch.from_numpy(noise).to(start.device, start.dtype)
        origin = _last(network, start, wanted)
        sums = np.zeros((2, len(origin)))
        step = max(1, BATCH_TOKENS // (2 * len(row)))
        for part in moves.split(step):
            both = _last(network, torch.cat([start + part, start - part]), wanted)
            plus, minus = both.chunk(2, dim=1)
            # The size that the perturbation has after rounding.
            sizes = (start + part - start).double().flatten(1).norm(dim=1)
            second = (plus + minus - 2 * origin).norm(dim=2) / sizes**2
            first = ((plus - origin).norm(dim=2) / sizes) ** 2
            sums += torch.stack([second.sum(dim=1), first.sum(dim=1)]).cpu().numpy()
        found.append((sums[0] / directions, sums[1] / directions))
        progress.step()
    curvature, sensitivity = (np.stack(values) for values in zip(*found, strict=True))
    if not (np.isfinite(curvature).all() and np.isfinite(sensitivity).all()):
        raise AtlasError("local curvature: a response of the network is NaN or Inf.")
    hooks = hook_names(curvature.shape[1] // len(set(wanted)), wanted)
    return Response(hooks, curvature, sensitivity)


def _last(network: Any, embeddings: torch.Tensor, wanted: Collection[str]) -> torch.Tensor:
    """(n_hooks, batch, d) float64 at the last token."""
    kept: list[torch.Tensor] = []
    with streams(network, lambda _, stream: kept.append(stream[:, -1].double()), wanted):
        network.base_model(inputs_embeds=embeddings, use_cache=False)
    return torch.stack(kept)


def measure_curvature(
    *, prompts: Path, base: list[Path], model: list[Path], base_names: list[str], most: int,
    directions: int, radius: float, seed: int, curvature: Path, shots: int = 0,
    wanted: Collection[str] = USUAL,
) -> None:  # fmt: skip
    """Write the responses of a base, or of a model of it: COLUMNS, a row per hook and prompt.

    The network runs in float32, whatever the base is stored in.

    :param prompts, most, shots: prompts of a task
        (:func:`atlas.geometry.residual_streams.prompt_rows`).
    :param model: files of the model; none for the base itself. :param wanted: streams of each block.
    """
    _, ids = prompt_tokens(prompts, base[0].parent, most, shots)
    with loaded_model(base, model, base_names, "float32") as network:
        found = local_curvature(network, ids, seed, directions, radius, wanted)
    rows = [
        {"layer": layer, "hook": stream, "prompt": number, "tokens": len(row),
         "local_curvature": float(found.curvature[number, i]),
         "sensitivity": float(found.sensitivity[number, i])}
        for i, (layer, stream) in enumerate(map(hook_place, found.hooks))
        for number, row in enumerate(ids)
    ]  # fmt: skip
    write_csv(curvature, COLUMNS, rows)
