"""The table of geometry: what training with rewards and on solutions leave, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas.experiments.geometry.page import DECIDING, DECISION, geometry_page
from atlas.figures.charts import draw_intervals
from atlas.files import read_csv, write_bytes, write_csv
from atlas.geometry.comparisons import ALL, CENTRING, NO_CENTRING, STREAM
from atlas.training.reward_curves import mean_curve, reward_curve, slope

MODELS = ("comparison", "base", "sft", "rl", "base_stages", "sft_stages", "rl_stages")
STATISTICS = (
    "pairs", "sft_mean", "rl_mean", "difference", "low", "high", "p_permutation",
    "p_permutation_corrected", "welch_t", "welch_df", "p_welch", "p_welch_corrected", "cohens_d",
    "layers", "correction",
)  # fmt: skip
REWARDS = ("reward_slope", "reward_low", "reward_high", "reward_steps", "reward_reason")
COLUMNS = (*MODELS, "task", "measure", "stream", "centring", *STATISTICS, "decision", "reason",
           *REWARDS)  # fmt: skip


def geometry_table(
    *, tests: list[Path], training: list[Path], comparisons: list[dict[str, Any]], name: str,
    table: Path, page: Path, figure: list[Path]
) -> None:  # fmt: skip
    """Write a table of comparisons: a row per measure and task, and over all tasks.

    The residual stream after each block, centred where a measure knows a centring. Differences are
    RL minus SFT. Each comparison ends in a row whose measure is ``decision``: that of subspace
    preservation over all tasks. ``reward_slope`` is the change of the mean reward per step in the
    training of its RL models, with a 95 % interval.

    :param tests: tests.csv of each comparison. :param training: training.csv of all models that
        are trained with rewards here.
    :param comparisons: of each: name, base, stages (of the base), sft and rl (model -> stages),
        rewarded (those of its models whose training.csv is there).
    :param figure: differences in subspace preservation, as SVG and as PNG.
    """
    curves = {file.parent.name: reward_curve(file) for file in training}
    rows: list[dict[str, Any]] = []
    for entry, file in zip(comparisons, tests, strict=True):
        own = rewards(entry["rewarded"], curves)
        rows += [{**_models(entry), **row, **own} for row in comparison_rows(read_csv(file))]
    write_csv(table, COLUMNS, rows)
    write_bytes(page, "\n".join(geometry_page(rows, comparisons)).encode())
    shown = {
        f"{row['comparison']}, {row['task']}": (
            float(row["difference"]), float(row["low"]), float(row["high"]), None,
        )
        for row in rows
        if row["measure"] == DECIDING and not row["reason"]
    }  # fmt: skip
    draw_intervals(figure, shown, "Subspace preservation, RL minus SFT", name,
                   label="95 % interval over layers and tasks")  # fmt: skip


def comparison_rows(tests: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Rows of one comparison: all layers together, and the decision last."""
    rows = [
        {key: row[key] for key in COLUMNS if key in row}
        for row in tests
        if row["layer"] == "all" and row["stream"] == STREAM
        and row["centring"] in (CENTRING, NO_CENTRING)
    ]  # fmt: skip
    deciding = [row for row in rows if (row["measure"], row["task"]) == (DECIDING, ALL)]
    return [*rows, *({**row, "measure": DECISION} for row in deciding)]


def rewards(models: Sequence[str], curves: Mapping[str, list[tuple[int, float]]]) -> dict[str, Any]:
    """Slope of the mean reward of models, or why there is none.

    :param models: those trained with rewards here. :param curves: model -> steps and rewards.
    """
    empty = dict.fromkeys(REWARDS)
    if not models:
        return empty | {"reward_reason": "its models are not trained with rewards here"}
    unrewarded = [model for model in models if not curves[model]]
    if unrewarded:
        return empty | {"reward_reason": f"{unrewarded[0]} has no rewards in its training.csv"}
    curve = mean_curve([curves[model] for model in models])
    found = slope(curve)
    if found is None:
        return empty | {"reward_reason": f"{len(curve)} steps have no slope with an interval"}
    return dict(zip(REWARDS, (found.value, found.low, found.high, found.steps, None), strict=True))


def _models(entry: dict[str, Any]) -> dict[str, str]:
    def stages(side: str) -> str:
        return "; ".join(f"{model}: {', '.join(of)}" for model, of in entry[side].items())

    return {
        "comparison": entry["name"], "base": entry["base"], "base_stages": ", ".join(entry["stages"]),
        "sft": ", ".join(entry["sft"]), "rl": ", ".join(entry["rl"]),
        "sft_stages": stages("sft"), "rl_stages": stages("rl"),
    }  # fmt: skip
