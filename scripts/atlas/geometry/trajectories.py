"""Measures of a trajectory: the path that a residual stream takes over the tokens of a prompt.

A trajectory is (tokens, d), any float type, computed in float64. All measures ignore where the
path starts; length and turning ignore rotations, and turning and the directions of a signature
ignore how fast the path is walked.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import AtlasError
from atlas.files import write_csv
from atlas.geometry.measures import decompose
from atlas.geometry.residual_streams import prompt_tokens, read_streams
from atlas.geometry.stream_files import EMBEDDINGS, StreamFile, hook_place
from atlas.geometry.stream_quality import refuse_bad_streams
from atlas.networks.shards import loaded_model
from atlas.progress import Progress

Array = np.ndarray[Any, Any]
SIGNATURE_DIMENSIONS = 3


def path_length(trajectory: Array) -> float:
    """Sum of the Euclidean lengths of the steps from token to token."""
    return float(np.linalg.norm(_steps(trajectory), axis=1).sum())


def path_curvature(trajectory: Array) -> float | None:
    """Mean angle between successive steps, in radians: 0 on a straight line, pi for a reversal.

    E. A. Hosseini and E. Fedorenko, NeurIPS 2023 (arXiv 2311.04930). Steps of length zero have no
    direction and are left out.

    :returns: None where there are fewer than two steps.
    """
    steps = _steps(trajectory)
    sizes = np.linalg.norm(steps, axis=1)
    units = steps[sizes > 0] / sizes[sizes > 0, None]
    if len(units) < 2:
        return None
    apart, along = (np.linalg.norm(units[1:] + s * units[:-1], axis=1) for s in (-1, 1))
    # Exact for small angles too, where a cosine is not (W. Kahan).
    return float(2 * np.arctan2(apart, along).mean())


def path_signature(trajectory: Array, basis: Array) -> tuple[Array, Array]:
    """Signature of depth 2 of the piecewise linear path in a space of few dimensions.

    First level: the whole displacement; second level: the integrals of (x_i - x_i(0)) dx_j, by
    Chen's identity, sum over s < t of D_s (x) D_t, plus half of D_t (x) D_t for each step D.
    I. Chevyrev and A. Kormilitzin, arXiv 1603.03788.

    :param basis: (d, m) orthonormal directions in which the path is seen: see signature_basis.
    :returns: (m,) and (m, m) float64.
    """
    steps = _steps(trajectory) @ basis
    before = np.cumsum(steps, axis=0) - steps
    return steps.sum(axis=0), before.T @ steps + steps.T @ steps / 2


def levy_area(second: Array) -> float:
    """Size of what the second level (m, m) adds to the first: the norm of its antisymmetric part.

    The symmetric part is half the product of the displacement with itself. 0 on a straight line.
    """
    return float(np.linalg.norm((second - second.T) / 2))


def trajectory_measures(trajectory: Array, basis: Array | None) -> dict[str, float | int | None]:
    """All of the above, under the names of columns; signature terms count directions from 1.

    :param basis: of the signature; without one there is none, and no area.
    """
    path = (len(trajectory), path_length(trajectory), path_curvature(trajectory))
    if basis is None:
        return dict(zip(trajectory_columns(0)[3:], (*path, None), strict=True))
    first, second = path_signature(trajectory, basis)
    values = (*path, levy_area(second), *first.tolist(), *second.ravel().tolist())
    return dict(zip(trajectory_columns(len(first))[3:], values, strict=True))


def signature_basis(activations: Array, dimensions: int = SIGNATURE_DIMENSIONS) -> Array:
    """The directions in which activations vary most: first right singular vectors, centred.

    :param activations: (n, d). :returns: (d, dimensions) float64, the component of each that is
        largest in size being positive, since a singular vector has no sign of its own.
    :raises AtlasError: where the activations do not vary in so many directions.
    """
    right = decompose(activations, dimensions).centred.right
    if right.shape[1] < dimensions:
        raise AtlasError(
            f"activations of {len(activations)} prompts vary in {right.shape[1]} directions; a "
            f"signature in {dimensions} dimensions needs more, or other, prompts."
        )
    largest = right[np.abs(right).argmax(axis=0), np.arange(dimensions)]
    return np.asarray(right * np.sign(largest))


def trajectory_columns(dimensions: int) -> list[str]:
    """Columns of trajectories.csv."""
    directions = range(1, dimensions + 1)
    return [
        "layer", "hook", "prompt", "tokens", "path_length", "path_curvature", "levy_area",
        *(f"signature_{i}" for i in directions),
        *(f"signature_{i}_{j}" for i in directions for j in directions),
    ]  # fmt: skip


def network_trajectories(
    network: Any, ids: Sequence[Sequence[int]], bases: Mapping[str, Array | None]
) -> Iterator[dict[str, Any]]:
    """Rows (trajectory_columns) of a network; one prompt is in memory at a time.

    :param bases: hook -> basis of the signatures.
    :raises AtlasError: where the hooks of the network are not those of the bases.
    """
    progress = Progress(len(ids), "prompt")
    for prompt, row in enumerate(ids):
        found = read_streams(network, [row], "all", {hook_place(hook)[1] for hook in bases})
        if list(found) != list(bases):
            raise AtlasError("the activations of the base are those of another architecture.")
        for hook, (stream,) in found.items():
            layer, name = hook_place(hook)
            place = {"layer": layer, "hook": name, "prompt": prompt}
            yield place | trajectory_measures(stream.float().cpu().numpy(), bases[hook])
        progress.step()


def measure_trajectories(
    *, prompts: Path, quality: Path, activations: Path, base: list[Path], model: list[Path],
    base_names: list[str], dtype: str, most: int, dimensions: int, trajectories: Path,
    shots: int = 0,
) -> None:  # fmt: skip
    """Write the measures of the trajectories of a base, or of a model of it.

    Signatures are seen in the directions in which the activations of the base vary most. Paths of the
    embeddings, which may not vary from prompt to prompt, have none.

    :param prompts, most, shots: prompts of a task
        (:func:`atlas.geometry.residual_streams.prompt_rows`).
    :param quality: what the checks of the activations found; a failed one stops here.
    :param activations: of the base, on this task.
    :param model: files of the model; none for the base itself.
    """
    refuse_bad_streams(quality)
    _, ids = prompt_tokens(prompts, base[0].parent, most, shots)
    with StreamFile(activations) as own:
        bases = {
            hook: None if hook == EMBEDDINGS else signature_basis(own.read(hook), dimensions)
            for hook in own.hooks
        }
    with loaded_model(base, model, base_names, dtype) as network:
        found = network_trajectories(network, ids, bases)
        columns = trajectory_columns(dimensions)
        rows = [dict.fromkeys(columns) | row for row in found]
    write_csv(trajectories, columns, rows)


def _steps(trajectory: Array) -> Array:
    if trajectory.ndim != 2 or not len(trajectory):
        raise AtlasError(
            f"a trajectory has the shape (tokens, d) with a token at least, not {trajectory.shape}."
        )
    return np.diff(trajectory.astype(np.float64), axis=0)
