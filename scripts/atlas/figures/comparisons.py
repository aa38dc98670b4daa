"""Figures of comparisons: preservation by layer, effective rank, spectra, rewards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from atlas.figures.canvas import PALETTE, frame, legend, note, plain_ticks, write
from atlas.figures.charts import MARKERS
from atlas.files import read_csv
from atlas.geometry.comparisons import CENTRING
from atlas.geometry.stream_files import STREAM
from atlas.training.reward_curves import reward_curve, slope

LINES = ("-", "--", ":", "-.")
BASE = "black"  # the colour of a base; those of its models are the palette's


def draw_comparison(
    *, layers: Path, spectra: Path, name: str, sides: dict[str, list[str]], preservation: list[Path],
    effective_rank: list[Path], singular_values: list[Path]
) -> None:  # fmt: skip
    """Draw the figures of a comparison.

    :param sides: models fine-tuned on solutions (sft) and with rewards (rl); a model has one colour in
        all figures of the comparison.
    :param preservation, effective_rank, singular_values: where each goes
        (:func:`atlas.figures.canvas.write`).
    """
    rows = [r for r in read_csv(layers) if r["hook"] == STREAM and r["centring"] == CENTRING]
    groups, colours = grouped(sides), model_colours(sides)
    write(preservation, lambda width: _preservation(rows, name, groups, colours, width))
    write(effective_rank, lambda width: _effective_rank(rows, name, width))
    with np.load(spectra) as stored:
        drawn = {"base": ["base"], **groups}
        write(singular_values, lambda width: _spectra(rows, stored, name, drawn, colours, width))


def model_colours(sides: dict[str, list[str]]) -> dict[str, str]:
    """Model -> its colour, in all figures of a comparison; where there are both sides, that of its side."""
    groups = grouped(sides).values()
    found = {
        model: PALETTE[k % len(PALETTE)] for k, models in enumerate(groups) for model in models
    }
    return {"base": BASE, **found}


def grouped(sides: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is drawn in one colour: label -> models."""
    if not all(sides.values()):
        return {model: [model] for models in sides.values() for model in models}
    return {
        models[0] if len(models) == 1 else f"{side.upper()} ({len(models)} models)": models
        for side, models in sides.items()
    }


def draw_rewards(
    *, training: list[Path], name: str, sides: dict[str, list[str]], reward: list[Path]
) -> None:
    """Draw the mean reward of each step of models that are trained with rewards, and its line.

    :param training: training.csv of each model; the name of its folder is the model's.
    :param sides: as of :func:`draw_comparison`.
    :param reward: where it goes (:func:`atlas.figures.canvas.write`).
    """
    curves = {file.parent.name: reward_curve(file) for file in training}
    colours = model_colours(sides)
    write(reward, lambda width: _rewards(curves, name, colours, width))


def _rewards(
    curves: dict[str, list[tuple[int, float]]], name: str, colours: dict[str, str], width: float
) -> Figure:
    title = f"Whether rewards rise in training: {name}"
    if empty := [model for model, curve in curves.items() if not curve]:
        return note(title, f"{empty[0]} has no rewards in its training.csv", width)
    figure, (axes,) = frame(width, 2.4, title)
    for k, (model, curve) in enumerate(curves.items()):
        steps, values = np.array(curve, dtype=np.float64).T
        axes.plot(steps, values, color=colours[model], marker=MARKERS[k % len(MARKERS)], markersize=3,
                  linewidth=0.8, label=model)  # fmt: skip
        if (found := slope(curve)) is not None:
            axes.plot(steps, values.mean() + found.value * (steps - steps.mean()), color=colours[model],
                      linestyle="--", label=f"slope {found.value:.4f} per step "
                      f"(95 %: {found.low:.4f} to {found.high:.4f})")  # fmt: skip
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="Step", ylabel="Mean reward")
    legend(figure, *axes.get_legend_handles_labels(), width)
    return figure


def _values(rows: list[dict[str, str]], column: str) -> dict[str, dict[int, list[float]]]:
    """Model -> layer -> values of its tasks; models as they come, layers sorted."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in sorted(rows, key=lambda row: int(row["layer"])):
        of = found.setdefault(row["model"], {})
        of.setdefault(int(row["layer"]), []).append(float(row[column]))
    return {model: found[model] for model in dict.fromkeys(row["model"] for row in rows)}


def _preservation(
    rows: list[dict[str, str]], name: str, groups: dict[str, list[str]], colours: dict[str, str],
    width: float,
) -> Figure:  # fmt: skip
    """Mean over models and tasks with a band from the lowest to the highest."""
    found = _values([row for row in rows if row["model"] != "base"], "subspace_preservation")
    title = f"How much of the base's subspaces training keeps: {name}"
    about = "Line: mean over models and tasks; band: from the lowest to the highest."
    figure, (axes,) = frame(width, 2.4, title, about)
    for k, (label, models) in enumerate(groups.items()):
        of = {i: [v for m in models for v in found[m][i]] for i in found[models[0]]}
        values, colour = of.values(), colours[models[0]]
        axes.plot(list(of), [np.mean(v) for v in values], color=colour, label=label,
                  marker=MARKERS[k % len(MARKERS)], markersize=3)  # fmt: skip
        axes.fill_between(list(of), [min(v) for v in values], [max(v) for v in values],
                          color=colour, alpha=0.2, linewidth=0)  # fmt: skip
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="Layer", ylabel="Subspace preservation")
    legend(figure, *axes.get_legend_handles_labels(), width)
    return figure


def _effective_rank(rows: list[dict[str, str]], name: str, width: float) -> Figure:
    """Models by layers, the mean over tasks."""
    found = _values(rows, "effective_rank")
    layers = sorted({layer for of in found.values() for layer in of})
    grid = [[np.mean(of.get(layer, [])) for layer in layers] for of in found.values()]
    title = f"In how many directions activations vary, layer by layer: {name}"
    figure, (axes,) = frame(width, max(1.2, 0.6 + 0.17 * len(found)), title)
    image = axes.imshow(grid, aspect="auto", cmap="cividis", interpolation="nearest")
    axes.set_yticks(range(len(found)), list(found))
    step = max(1, len(layers) // (10 if width > 5 else 5))
    axes.set_xticks(range(0, len(layers), step), [str(layer) for layer in layers[::step]])
    axes.set_xlabel("Layer")
    figure.colorbar(image, label="Effective rank")
    return figure


def _spectra(
    rows: list[dict[str, str]], stored: Mapping[str, np.ndarray[Any, Any]], name: str,
    groups: dict[str, list[str]], colours: dict[str, str], width: float,
) -> Figure:  # fmt: skip
    """Singular values by the largest, of the first, middle and last layer and the first task."""
    drawn = [(k, label, m) for k, (label, own) in enumerate(groups.items()) for m in own]
    layers = sorted({int(r["layer"]) for r in rows})
    shown = sorted({layers[0], layers[len(layers) // 2], layers[-1]})
    task = rows[0]["task"]
    title = f"How singular values of activations fall off: {name}, task {task}"
    figure, row = frame(width, 2.0, title, panels=len(shown), least=2.2)
    for layer, axes in zip(shown, row, strict=True):
        for k, label, model in drawn:
            values = stored[f"{task}/{model}/{STREAM}.{layer}/{CENTRING}"]
            values = values[values > 0]
            axes.loglog(range(1, len(values) + 1), values / values[0],
                        label=label if model == groups[label][0] else None,
                        color=colours[model], linestyle=LINES[k % len(LINES)])  # fmt: skip
        axes.set(title=f"Layer {layer}", xlabel="Index", ylabel="Singular value / largest")
        plain_ticks(axes.xaxis, axes.yaxis)
        axes.label_outer()
    legend(figure, *row[0].get_legend_handles_labels(), width)
    return figure
