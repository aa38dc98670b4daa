"""What happened to each prompt of a comparison: whether it moved, and how its path over the layers runs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from atlas.files import write_csv
from atlas.geometry.layer_paths import menger_curvature, signature_distances
from atlas.geometry.measures import decompose
from atlas.geometry.stream_files import STREAM, StreamFile, hook_place
from atlas.geometry.stream_quality import refuse_bad_streams

Array = np.ndarray[Any, Any]
MEASURES = ("sample_cka", "menger_curvature", "signature_distance")
COLUMNS = ("task", "model", "prompt", "tokens", *MEASURES, "signature_dimensions")


def sample_cka(base: Array, model: Array) -> Array:
    """Of each prompt, whether it is as near to the other prompts as it was: 1 where nothing moved.

    The cosine of the rows of both centred Gram matrices, as CKA is that of the whole matrices: turns and
    scales of a representation leave it as it is. The diagonal is left out: a prompt that went elsewhere
    at the same distance from the mean would be similar by its own length alone.

    :param base, model: activations (n, d) of the same prompts. :returns: (n,) float64; NaN where a prompt is
        the mean of all.
    """
    both = [m.astype(np.float64) for m in (base, model)]
    one, other = (m @ m.T for m in (m - m.mean(axis=0) for m in both))
    for gram in (one, other):
        np.fill_diagonal(gram, 0.0)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / np.where(norms > 0, norms, np.nan))


def measure_prompts(
    base: Path, models: Mapping[str, Path], dimensions: int
) -> Iterator[dict[str, Any]]:
    """Rows (COLUMNS, without the task) of the base and of models, prompt by prompt.

    Of the residual stream after each block; where all tokens are stored, of the last one. Signatures
    are seen in the directions in which the base varies most over all prompts and layers. The base has
    neither similarity nor distance.

    :param dimensions: of the signatures; fewer where the base varies in fewer.
    """
    with StreamFile(base) as stored:
        reference, tokens = _paths(stored), stored.tokens
    flat = reference.reshape(-1, reference.shape[2])
    right = decompose(flat, dimensions).centred.right.astype(np.float64)
    seen = reference @ right
    for name, file in {"base": base, **models}.items():
        own, found = reference, {}
        if name != "base":
            with StreamFile(base) as first, StreamFile(file) as stored:
                first.check_same(stored)
                own = _paths(stored)
            layers = [sample_cka(reference[:, i], own[:, i]) for i in range(own.shape[1])]
            found["sample_cka"] = np.mean(layers, axis=0)
            found["signature_distance"] = signature_distances(seen, own @ right)
        found["menger_curvature"] = menger_curvature(own)
        for prompt, length in enumerate(tokens):
            values = {key: float(of[prompt]) for key, of in found.items()}
            row = dict.fromkeys(COLUMNS) | {"model": name, "prompt": prompt, "tokens": int(length)}
            row |= {key: value for key, value in values.items() if np.isfinite(value)}
            yield row | {"signature_dimensions": right.shape[1]}


def comparison_prompts(
    *, quality: Path, activations: list[Path], entries: list[list[str]], dimensions: int,
    prompts: Path
) -> None:  # fmt: skip
    """Write what happened to each prompt of a comparison: COLUMNS, a row per task, model and prompt.

    :param quality: what the checks found; a failed one stops here.
    :param entries: model ("base" for the base) and task of each file of activations.
    :raises AtlasError: where a check failed, or files of a task differ in prompts or widths.
    """
    refuse_bad_streams(quality)
    files = {(m, t): file for (m, t), file in zip(entries, activations, strict=True)}
    rows = []
    for task in dict.fromkeys(task for _, task in entries):
        models = {m: file for (m, t), file in files.items() if t == task and m != "base"}
        measured = measure_prompts(files["base", task], models, dimensions)
        rows += [{**row, "task": task} for row in measured]
    write_csv(prompts, COLUMNS, rows)


def _paths(stored: StreamFile) -> Array:
    """(prompts, layers, d) float32."""
    hooks = [hook for hook in stored.hooks if hook_place(hook)[1] == STREAM]
    return np.stack([stored.last(hook).astype(np.float32) for hook in hooks], axis=1)
