"""The geometry of models compared: quality of the activations, measures by layer, statistics."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from atlas.errors import AtlasError
from atlas.files import read_csv, read_json, write_csv
from atlas.geometry import measures as geometry
from atlas.geometry import paired_statistics, stream_quality
from atlas.geometry.linear_probes import correct_answers, probe_auc
from atlas.geometry.measures import SUBSPACE, measure_layers
from atlas.geometry.model_statistics import between_models
from atlas.geometry.prompts import MEASURES as PROMPT_MEASURES
from atlas.geometry.stream_files import (
    EMBEDDINGS,
    STREAM,
    STREAMS,
    USUAL,
    StreamFile,
    hook_name,
    hook_place,
)
from atlas.geometry.stream_quality import check_streams, refuse_bad_streams

Key = TypeVar("Key")
# Means over prompts of what is measured prompt by prompt; they know no centring.
CURVATURE = ("local_curvature", "sensitivity")
TRAJECTORIES = ("path_length", "path_curvature", "levy_area")
PROBE = "answer_auc"
FREE = (*CURVATURE, *TRAJECTORIES, PROBE)
LAYER_COLUMNS = ("task", *geometry.COLUMNS, *FREE)
# Of rows over all layers: an interval over models, and the p-value of no difference.
MODEL_COLUMNS = ("model_low", "model_high", "model_p")
TEST_COLUMNS = ("task", "stream", "centring", *paired_statistics.COLUMNS, *MODEL_COLUMNS, "reason")
# What is compared between models trained with rewards and models fine-tuned on solutions: how much
# of the base they keep, of which there is a decision, how far they are from it, and their shape.
KEPT = ("subspace_preservation", "projection_score", *geometry.ALIGNMENT.values())
SHAPE = ("procrustes_distance", "effective_rank", "spectral_decay", "participation_ratio",
         "stable_rank", "dimension_90", "condition_number")  # fmt: skip
# Of these the figures are; the decision is published by uncentred activations.
CENTRING, PUBLISHED_CENTRING = "centred", "uncentred"
NO_CENTRING = ""
ALL = "all"


def comparison_quality(
    *, activations: list[Path], config: Path, low: float, high: float, quality: Path,
    wanted: Sequence[str] = USUAL,
) -> None:  # fmt: skip
    """Check every file of activations of a comparison (:mod:`atlas.geometry.stream_quality`).

    :param config: config.json of the base, which says how many blocks there are.
    :param low, high: bounds of the mean norm of a row, any layer.
    :param wanted: streams of each block.
    """
    settings = read_json(config)
    layers = int(settings.get("text_config", settings)["num_hidden_layers"])
    rows = [row for file in activations for row in check_streams(file, layers, low, high, wanted)]
    write_csv(quality, stream_quality.COLUMNS, rows)


def comparison_layers(
    *, quality: Path, activations: list[Path], curvature: list[Path], trajectories: list[Path],
    answers: list[Path], entries: list[list[str]], layers: Path, spectra: Path, subspace: int = SUBSPACE,
) -> None:  # fmt: skip
    """Measure every layer of every model on every task.

    :param quality: what the checks found; a failed one stops here.
    :param entries: model ("base" for the base) and task of each file of activations, curvature,
        trajectories and answers (all but the first may be missing).
    :param subspace: dimensions of the subspaces that are compared.
    :param layers: task, the columns of :data:`atlas.geometry.measures.COLUMNS`, and means over prompts of
        CURVATURE and TRAJECTORIES, which are the same whatever the centring; so is PROBE, the area under
        the curve of a probe of the answers (:func:`atlas.geometry.linear_probes.probe_auc`).
    :param spectra: singular values, float64, as ``{task}/{model}/{hook}/{centring}`` (.npz).
    :raises AtlasError: where a check failed, or files of a task differ in prompts or widths.
    """
    refuse_bad_streams(quality)
    files = {(m, t): file for (m, t), file in zip(entries, activations, strict=True)}
    means: dict[tuple[str, ...], float] = {}
    for columns, found in ((CURVATURE, curvature), (TRAJECTORIES, trajectories)):
        for (model, task), file in zip(entries if found else (), found, strict=True):
            means |= prompt_means(file, columns, model, task)
    for (model, task), file in zip(entries if answers else (), answers, strict=True):
        means |= probed(file, files[model, task], model, task)
    rows: list[dict[str, Any]] = []
    values: dict[str, np.ndarray[Any, Any]] = {}
    for task in dict.fromkeys(task for _, task in entries):
        models = {m: file for (m, t), file in files.items() if t == task and m != "base"}
        for row, singular in measure_layers(files["base", task], models, subspace):
            model, layer, hook = row["model"], row["layer"], row["hook"]
            place = (model, task, str(layer), hook)
            more = {key: means.get((*place, key)) for key in FREE}
            rows.append({"task": task, **row, **more})
            values[f"{task}/{model}/{hook}.{layer}/{row['centring']}"] = singular
    write_csv(layers, LAYER_COLUMNS, rows)
    with spectra.open("wb") as handle:
        np.savez(handle, **values)


def probed(answers: Path, activations: Path, model: str, task: str) -> dict[tuple[str, ...], float]:
    """Areas under the curve of probes, where there is one: (model, task, layer, hook, PROBE)."""
    correct = correct_answers(answers)
    found: dict[tuple[str, ...], float] = {}
    with StreamFile(activations) as stored:
        for hook in stored.hooks:
            area = probe_auc(stored.last(hook)[: len(correct)], correct)
            if area is not None:
                layer, stream = hook_place(hook)
                found[model, task, str(layer), stream, PROBE] = area
    return found


def prompt_means(
    file: Path, columns: Sequence[str], model: str, task: str
) -> dict[tuple[str, ...], float]:
    """Means over prompts, those without a value left out: (model, task, layer, hook, column)."""
    return means_of(
        ((model, task, row["layer"], row["hook"], column), float(row[column]))
        for row in read_csv(file)
        for column in columns
        if row[column]
    )


def means_of(values: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """The mean of the values of each key."""
    found: dict[Key, list[float]] = {}
    for key, value in values:
        found.setdefault(key, []).append(value)
    return {key: sum(some) / len(some) for key, some in found.items()}


def comparison_tests(
    *, layers: Path, prompts: Path, sft: list[str], rl: list[str], tests: Path
) -> None:
    """Compare models trained with rewards (RL) with models fine-tuned on solutions (SFT).

    The values of several models of a side are averaged by layer and task. Rows of the task ``all``
    are over all tasks, by layer and over all layers; with several tasks, each has a row of its own
    over its layers. Rows over all layers have an interval over models, too: of the mean of each
    model (:mod:`atlas.geometry.model_statistics`), empty where a side has one model only. A measure
    that has no value in some layer has one row, with the reason. The embeddings (resid_pre of layer
    0) are left out: nothing was computed yet.

    What is measured of prompts over all layers (:mod:`atlas.geometry.prompts`) has rows with the mean over
    prompts and nothing but the interval over models: it has no layers to pair.

    :param layers: what :func:`comparison_layers` wrote.
    :param prompts: what :func:`atlas.geometry.prompts.comparison_prompts` wrote.
    :param sft, rl: models of each side.
    :param tests: task, stream, centring (empty where there is none),
        :data:`atlas.geometry.paired_statistics.COLUMNS`, :data:`MODEL_COLUMNS`, reason.
    """
    lines = [row for row in read_csv(layers) if _hook(row) != EMBEDDINGS]
    rows: list[dict[str, Any]] = []
    read = sorted({row["hook"] for row in lines}, key=STREAMS.index)
    for stream, centring in product(read, (*geometry.CENTRINGS, NO_CENTRING)):
        known = centring or CENTRING
        own = [row for row in lines if (row["hook"], row["centring"]) == (stream, known)]
        place = dict.fromkeys(MODEL_COLUMNS) | {
            "stream": stream,
            "centring": centring,
            "reason": "",
        }
        for measure in (*KEPT, *SHAPE) if centring else FREE:
            # Else it was not asked for, or is of another centring.
            if any(row[measure] for row in lines if row["centring"] == known):
                rows += [{"task": t, **place, **row} for t, row in tested(own, measure, sft, rl)]
    place = {"stream": STREAM, "centring": NO_CENTRING, "reason": ""}
    for measure in PROMPT_MEASURES:
        found = whole(read_csv(prompts), measure, sft, rl)
        rows += [{"task": task, **place, **row} for task, row in found]
    write_csv(tests, TEST_COLUMNS, rows)


def _hook(row: dict[str, str]) -> str:
    return hook_name(int(row["layer"]), row["hook"])


def tested(
    rows: Sequence[dict[str, str]], measure: str, sft: Sequence[str], rl: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Task and row of each test of a measure, of one stream and centring."""
    try:
        one, other = (side(rows, names, measure) for names in (sft, rl))
        for row in paired_statistics.compare(measure, one, other, decide=measure in KEPT):
            yield ALL, row | (over_models(rows, measure, sft, rl) if row["layer"] == ALL else {})
    except AtlasError as error:
        empty = dict.fromkeys(paired_statistics.COLUMNS)
        yield ALL, {**empty, "measure": measure, "layer": "all", "reason": str(error)}
        return
    tasks = sorted({task for _, task in one})
    for task in tasks if len(tasks) > 1 else ():
        own = [{k: v for k, v in of.items() if k[1] == task} for of in (one, other)]
        row = paired_statistics.overall(measure, *own, decide=measure in KEPT)
        yield task, row | over_models([r for r in rows if r["task"] == task], measure, sft, rl)


def whole(
    rows: Sequence[dict[str, str]], measure: str, sft: Sequence[str], rl: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Task and row of each test of a measure of prompts: over all tasks, and of each of several."""
    empty = dict.fromkeys((*paired_statistics.COLUMNS, *MODEL_COLUMNS))
    empty |= {"measure": measure, "layer": ALL}
    own = [row for row in rows if row["model"] in (*sft, *rl)]
    lost = next((row for row in own if not row[measure]), None)
    if lost:
        reason = f"{lost['model']} has no {measure} of prompt {int(lost['prompt']) + 1} of {lost['task']}."
        yield ALL, empty | {"reason": reason}
        return
    tasks = sorted({row["task"] for row in own})
    for task in [ALL, *(tasks if len(tasks) > 1 else [])]:
        chosen = [row for row in own if task in (ALL, row["task"])]
        one, other = (np.array(list(model_means(chosen, measure, s).values())) for s in (sft, rl))
        means = {"sft_mean": float(one.mean()), "rl_mean": float(other.mean()),
                 "difference": float(other.mean() - one.mean())}  # fmt: skip
        yield task, empty | means | over_models(chosen, measure, sft, rl)


def model_means(
    rows: Sequence[dict[str, str]], measure: str, models: Sequence[str]
) -> dict[str, float]:
    """The mean of each model, tasks counting alike however many rows they have."""
    own = [row for row in rows if row["model"] in models]
    tasks = means_of(((row["model"], row["task"]), float(row[measure])) for row in own)
    return means_of((model, value) for (model, _), value in tasks.items())


def over_models(
    rows: Sequence[dict[str, str]], measure: str, sft: Sequence[str], rl: Sequence[str]
) -> dict[str, float | None]:
    """MODEL_COLUMNS of a measure: of the means of each model over the rows, which have a value."""
    sides = (np.array(list(model_means(rows, measure, side).values())) for side in (sft, rl))
    found = between_models(*sides)
    return dict(zip(MODEL_COLUMNS, (found.low, found.high, found.p), strict=True))


def side(
    rows: Sequence[dict[str, str]], models: Sequence[str], measure: str
) -> dict[tuple[int, str], float]:
    """Mean over models of a measure: (layer, task) -> value.

    :raises AtlasError: where a model has no finite value.
    """
    chosen = [row for row in rows if row["model"] in models]
    for row in chosen:
        if not math.isfinite(float(row[measure] or math.nan)):
            raise AtlasError(
                f"{row['model']} has no finite {measure} in layer {row['layer']} of {row['task']}."
            )
    return means_of(((int(row["layer"]), row["task"]), float(row[measure])) for row in chosen)
