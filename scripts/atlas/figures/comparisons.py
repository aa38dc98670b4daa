"""Figures of comparisons: preservation by layer, effective rank, spectra, rewards."""

from pathlib import Path

import numpy as np

from atlas.figures.canvas import PALETTE, STYLE, chart, note, plt, save
from atlas.files import read_csv
from atlas.geometry.comparisons import CENTRING
from atlas.geometry.stream_files import STREAM
from atlas.training.reward_curves import reward_curve, slope

MARKERS, LINES = "os^Dv", ("-", "--", ":", "-.")


def draw_comparison(
    *, layers: Path, spectra: Path, name: str, sides: dict[str, list[str]], preservation: list[Path],
    effective_rank: list[Path], singular_values: list[Path]
) -> None:  # fmt: skip
    """Draw the figures of a comparison.

    :param sides: models fine-tuned on solutions (sft) and with rewards (rl); where there are both, the
        models of a side have a colour, else each model has.
    :param preservation, effective_rank, singular_values: where each goes, as SVG and as PNG.
    """
    rows = [r for r in read_csv(layers) if r["hook"] == STREAM and r["centring"] == CENTRING]
    groups = grouped(sides)
    _preservation(rows, name, groups, preservation)
    _effective_rank(rows, name, effective_rank)
    _spectra(rows, spectra, name, {"base": ["base"], **groups}, singular_values)


def grouped(sides: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is drawn in one colour: label -> models."""
    if not all(sides.values()):
        return {model: [model] for models in sides.values() for model in models}
    return {
        models[0] if len(models) == 1 else f"{side.upper()} ({len(models)} models)": models
        for side, models in sides.items()
    }


def draw_rewards(*, training: list[Path], name: str, reward: list[Path]) -> None:
    """Draw the mean reward of each step of models that are trained with rewards, and its line.

    :param training: training.csv of each model; the name of its folder is the model's.
    :param reward: where it goes, as SVG and as PNG.
    """
    curves = {file.parent.name: reward_curve(file) for file in training}
    if empty := [model for model, curve in curves.items() if not curve]:
        with plt.rc_context(STYLE):
            save(note(name, f"{empty[0]} has no rewards in its training.csv"), *reward)
        return
    with chart(reward, (6.4, 3.6), name) as (figure, (axes,)):
        for k, (model, curve) in enumerate(curves.items()):
            steps, values = np.array(curve, dtype=np.float64).T
            colour = PALETTE[k % len(PALETTE)]
            axes.plot(steps, values, color=colour, marker=MARKERS[k % len(MARKERS)], markersize=3,
                      linewidth=0.8, label=model)  # fmt: skip
            if (found := slope(curve)) is not None:
                axes.plot(steps, values.mean() + found.value * (steps - steps.mean()), color=colour,
                          linestyle="--", label=f"slope {found.value:.4f} per step, 95 % interval "
                          f"{found.low:.4f} to {found.high:.4f}")  # fmt: skip
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="Step", ylabel="Mean reward")
        figure.legend(loc="outside lower center", frameon=False)


def _values(rows: list[dict[str, str]], column: str) -> dict[str, dict[int, list[float]]]:
    """Model -> layer -> values of its tasks; models as they come, layers sorted."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in sorted(rows, key=lambda row: int(row["layer"])):
        of = found.setdefault(row["model"], {})
        of.setdefault(int(row["layer"]), []).append(float(row[column]))
    return {model: found[model] for model in dict.fromkeys(row["model"] for row in rows)}


def _preservation(
    rows: list[dict[str, str]], name: str, groups: dict[str, list[str]], places: list[Path]
) -> None:
    """Mean over models and tasks with a band from the lowest to the highest."""
    found = _values([row for row in rows if row["model"] != "base"], "subspace_preservation")
    with chart(places, (6.4, 3.6), name) as (figure, (axes,)):
        for k, (label, models) in enumerate(groups.items()):
            colour = PALETTE[k % len(PALETTE)]
            of = {i: [v for m in models for v in found[m][i]] for i in found[models[0]]}
            values = of.values()
            axes.plot(list(of), [np.mean(v) for v in values], color=colour, label=label,
                      marker=MARKERS[k % len(MARKERS)], markersize=3)  # fmt: skip
            axes.fill_between(list(of), [min(v) for v in values], [max(v) for v in values],
                              color=colour, alpha=0.2, linewidth=0)  # fmt: skip
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="Layer", ylabel="Subspace preservation")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)


def _effective_rank(rows: list[dict[str, str]], name: str, places: list[Path]) -> None:
    """Models by layers, the mean over tasks."""
    found = _values(rows, "effective_rank")
    layers = sorted({layer for of in found.values() for layer in of})
    grid = [[np.mean(of.get(layer, [])) for layer in layers] for of in found.values()]
    with chart(places, (6.4, max(1.8, 1.2 + 0.4 * len(found))), name) as (figure, (axes,)):
        image = axes.imshow(grid, aspect="auto", cmap="cividis", interpolation="nearest")
        axes.set_yticks(range(len(found)), list(found))
        step = max(1, len(layers) // 10)
        axes.set_xticks(range(0, len(layers), step), [str(layer) for layer in layers[::step]])
        axes.set_xlabel("Layer")
        figure.colorbar(image, label="Effective rank")


def _spectra(
    rows: list[dict[str, str]], spectra: Path, name: str, groups: dict[str, list[str]],
    places: list[Path],
) -> None:  # fmt: skip
    """Singular values by the largest, of the first, middle and last layer and the first task."""
    drawn = [(k, label, m) for k, (label, own) in enumerate(groups.items()) for m in own]
    layers = sorted({int(r["layer"]) for r in rows})
    shown = sorted({layers[0], layers[len(layers) // 2], layers[-1]})
    task = rows[0]["task"]
    with np.load(spectra) as stored, chart(places, (7.2, 3.2), panels=len(shown)) as (figure, row):
        for layer, axes in zip(shown, row, strict=True):
            for k, label, model in drawn:
                values = stored[f"{task}/{model}/{STREAM}.{layer}/{CENTRING}"]
                values = values[values > 0]
                axes.loglog(range(1, len(values) + 1), values / values[0],
                            label=label if layer == shown[0] and model == groups[label][0] else None,
                            color=PALETTE[k % len(PALETTE)], linestyle=LINES[k % len(LINES)])  # fmt: skip
            axes.set_title(f"Layer {layer}", fontsize=9)
        row[len(shown) // 2].set_xlabel("Index")
        row[0].set_ylabel("Singular value / largest")
        figure.suptitle(f"{name}, {task}", x=0.01, ha="left")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
