"""The table of weight space: models trained with rewards and on solutions, over models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atlas.experiments.weight_space.measures import MEASURES, missing, values
from atlas.experiments.weight_space.page import weight_space_page
from atlas.figures.charts import draw_sides
from atlas.files import read_csv, write_bytes, write_csv
from atlas.geometry.model_statistics import between_models

COLUMNS = ("comparison", "base", "sft", "rl", "measure", "sft_mean", "rl_mean", "difference",
           "low", "high", "p", "sft_models", "rl_models", "reason")  # fmt: skip
DRAWN = ("changed_share", "right_angle_mean_degrees", "spectral_drift", "principal_energy_to_chance",
         "kl_nats_per_token", "forgetting_nats_per_token")  # fmt: skip


def weight_space_table(
    *, weights: list[Path], drift: list[Path], comparisons: list[dict[str, Any]], name: str,
    table: Path, page: Path, figure: list[Path]
) -> None:  # fmt: skip
    """Write a table of comparisons: a row per measure, RL minus SFT over models.

    ``low`` and ``high`` are Welch's t interval (95 %) over models, ``p`` is its p-value, not
    corrected for the number of measures; ``reason`` says why there are none.

    :param weights, drift: weights.csv and drift.csv of each comparison.
    :param comparisons: of each: name, base, sft and rl (whose keys are models).
    :param figure: the values of the models.
    """
    rows: list[dict[str, Any]] = []
    drawn: dict[str, dict[str, dict[str, float]]] = {}
    for entry, weight_file, drift_file in zip(comparisons, weights, drift, strict=True):
        found = values(read_csv(weight_file), read_csv(drift_file))
        about = {"comparison": entry["name"], "base": entry["base"],
                 **{side: ", ".join(entry[side]) for side in ("sft", "rl")}}  # fmt: skip
        for measure, of in found.items():
            rows.append({**about, "measure": measure,
                         **measure_row(measure, of, list(entry["sft"]), list(entry["rl"]))})  # fmt: skip
        for measure in DRAWN:
            label = f"{MEASURES[measure].label}\n({MEASURES[measure].unit})"
            of = found[measure]
            for side in ("sft", "rl"):
                drawn.setdefault(label, {})[f"{entry['name']}, {side.upper()}"] = {
                    model: of[model] for model in entry[side] if model in of
                }
    write_csv(table, COLUMNS, rows)
    write_bytes(page, "\n".join(weight_space_page(rows)).encode())
    draw_sides(
        figure, drawn, "What training with rewards (RL) and on solutions (SFT) does to weights"
    )


def measure_row(
    measure: str, of: Mapping[str, float], sft: Sequence[str], rl: Sequence[str]
) -> dict[str, Any]:
    """Both sides of one measure; empty where a model has no value, with the reason.

    :param of: model -> value.
    """
    row: dict[str, Any] = dict.fromkeys(COLUMNS[5:])
    row |= {"sft_models": len(sft), "rl_models": len(rl)}
    without = [model for model in (*sft, *rl) if model not in of]
    if without:
        return row | {"reason": missing(measure, without[0])}
    one, two = (np.array([of[model] for model in side]) for side in (sft, rl))
    found = between_models(one, two)
    row |= {"sft_mean": float(one.mean()), "rl_mean": float(two.mean())}
    row |= {key: getattr(found, key) for key in ("difference", "low", "high", "p")}
    if found.low is None:
        alone = min(len(sft), len(rl)) < 2
        row["reason"] = "one model of a side has no interval over models" if alone else (
            "neither side varies over its models"
        )  # fmt: skip
    return row
