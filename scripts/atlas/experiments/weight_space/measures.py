"""The measures of weight space: one value per model, from the files of a comparison."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

Row = Mapping[str, str]


@dataclass(frozen=True)
class Measure:
    """A measure: what it is called, its unit, and the sentence that findings begin with.

    :param sentence: what models of a side do, up to the figures; ``{how}`` is ``more`` or ``less``.
        None: the summary does not tell it.
    """

    label: str
    unit: str = ""
    sentence: str | None = None


MEASURES = {
    "changed_share": Measure(
        "weights changed beyond rounding", "share", "change {how} of the weights beyond rounding"
    ),
    "relative_change": Measure("norm of the change", "share of the base's"),
    "left_angle_mean_degrees": Measure("rotation of left subspaces, mean", "degrees"),
    "left_angle_max_degrees": Measure("rotation of left subspaces, largest", "degrees"),
    "right_angle_mean_degrees": Measure(
        "rotation of right subspaces, mean",
        "degrees",
        "turn the leading right singular subspaces {how} (mean principal angle, degrees)",
    ),
    "right_angle_max_degrees": Measure("rotation of right subspaces, largest", "degrees"),
    "spectral_drift": Measure(
        "drift of the spectrum", "share", "move the leading singular values {how}"
    ),
    "principal_energy_to_chance": Measure(
        "change inside the leading subspaces",
        "times chance",
        "put {how} of their change into the leading subspaces (times chance)",
    ),
    "principal_weights_to_chance": Measure("principal weights among those changed", "times chance"),
    "kl_nats_per_token": Measure(
        "forward KL from the base, learnt tasks",
        "nats per token",
        "diverge {how} from the base on what they learnt (forward KL, nats per token)",
    ),
    "forgetting_nats_per_token": Measure(
        "forgetting: rise of the loss, other tasks",
        "nats per token",
        "forget {how} of the other tasks (rise of the loss, nats per token)",
    ),
}
TO_CHANCE = {f"{part}_to_chance": part for part in ("principal_energy", "principal_weights")}
# Measure of drift.csv -> its column, whether it is of learnt tasks, and what there is none of.
DRIFT = {
    "kl_nats_per_token": ("kl_nats_per_token", "1", "the comparison names no learnt task"),
    "forgetting_nats_per_token": ("loss_rise_nats_per_token", "0", "all tasks are learnt ones"),
}


def values(weights: Iterable[Row], drift: Iterable[Row]) -> dict[str, dict[str, float]]:
    """Measure -> model -> value; models without a value are left out.

    :param weights, drift: rows of weights.csv and drift.csv of a comparison. Of the tasks of drift,
        each counts the same.
    """
    found: dict[str, dict[str, float]] = {measure: {} for measure in MEASURES}
    tasks: dict[tuple[str, str], list[float]] = {}
    for row in (row for row in weights if row["scope"] == "model"):
        cells = {key: row.get(key, "") for key in MEASURES}
        for measure, part in TO_CHANCE.items():
            if row[part]:
                cells[measure] = str(float(row[part]) / float(row[f"{part}_by_chance"]))
        for measure in found.keys() - DRIFT.keys():
            if cells[measure]:
                found[measure][row["model"]] = float(cells[measure])
    for row in drift:
        for measure, (column, learnt, _) in DRIFT.items():
            if row["learnt"] == learnt:
                tasks.setdefault((measure, row["model"]), []).append(float(row[column]))
    for (measure, model), several in tasks.items():
        found[measure][model] = fmean(several)
    return found


def missing(measure: str, model: str) -> str:
    """Why a model has no value of a measure."""
    if measure in DRIFT:
        return DRIFT[measure][2]
    return f"{model} changed no weight of a matrix"
