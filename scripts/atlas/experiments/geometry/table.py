"""The table of geometry: what training with rewards and on solutions leave, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas.experiments.geometry.page import DECIDING, geometry_page
from atlas.experiments.marks import DECISION
from atlas.experiments.published import check_settings, published_figures
from atlas.figures.charts import draw_intervals
from atlas.files import read_csv, write_bytes, write_csv
from atlas.geometry.comparisons import ALL, MODEL_COLUMNS, PUBLISHED_CENTRING
from atlas.geometry.stream_files import STREAM
from atlas.training.reward_curves import mean_curve, reward_curve, slope

MODELS = ("comparison", "base", "sft", "rl", "base_stages", "sft_stages", "rl_stages")
STATISTICS = (
    "pairs", "sft_mean", "rl_mean", "difference", "low", "high", "p_permutation",
    "p_permutation_corrected", "welch_t", "welch_df", "p_welch", "p_welch_corrected", "cohens_d",
    "layers", "correction", *MODEL_COLUMNS,
)  # fmt: skip
PUBLISHED = ("sft_published", "rl_published")
# What was published, and of activations of which centring.
MEASURED = {("subspace_preservation", PUBLISHED_CENTRING), ("effective_rank", PUBLISHED_CENTRING),
            ("cka", "centred")}  # fmt: skip
REWARDS = ("reward_slope", "reward_low", "reward_high", "reward_steps", "reward_reason")
COLUMNS = (*MODELS, "task", "measure", "stream", "centring", *STATISTICS, "decision", "reason",
           *PUBLISHED, *REWARDS)  # fmt: skip


def geometry_table(
    *, tests: list[Path], training: list[Path], published: Path, comparisons: list[dict[str, Any]],
    settings: dict[str, str], name: str, table: Path, page: Path, figure: list[Path]
) -> None:  # fmt: skip
    """Write a table of comparisons: a row per measure, centring and task, and over all tasks.

    The residual stream after each block. Differences are RL minus SFT. Each comparison ends in two
    rows whose measure is ``decision``: that of subspace preservation over all tasks, of uncentred
    activations, as published, and of centred ones, which is ours. ``reward_slope`` is the change of
    the mean reward per step in the training of its RL models, with a 95 % interval.

    :param tests: tests.csv of each comparison. :param training: training.csv of all models that
        are trained with rewards here.
    :param comparisons: of each: name, base, stages (of the base), sft and rl (model -> stages),
        rewarded (those of its models whose training.csv is there).
    :param settings: comparison -> setting of the published figures; these stand beside the rows over
        all tasks of the measures and centrings that were published (MEASURED), and no others.
    :param figure: differences in subspace preservation, uncentred as published, with intervals over
        models where each side has two or more.
    """
    known = published_figures(published, name)
    check_settings(known, name, set(settings.values()))
    curves = {file.parent.name: reward_curve(file) for file in training}
    rows: list[dict[str, Any]] = []
    for entry, file in zip(comparisons, tests, strict=True):
        own = rewards(entry["rewarded"], curves)
        setting = settings.get(entry["name"], "")
        rows += [
            {**_models(entry), **row, **_published(row, setting, known), **own}
            for row in comparison_rows(read_csv(file))
        ]
    write_csv(table, COLUMNS, rows)
    write_bytes(page, "\n".join(geometry_page(rows, comparisons)).encode())
    _draw(rows, name, figure)


def _draw(rows: Sequence[dict[str, Any]], name: str, places: list[Path]) -> None:
    shown = {}
    for row in rows:
        if (row["measure"], row["centring"]) != (DECIDING, PUBLISHED_CENTRING) or row["reason"]:
            continue
        value = float(row["difference"])
        sides = [row[key] for key in PUBLISHED]
        theirs = None if None in sides else sides[1] - sides[0]
        low, high = (float(row[key]) if row[key] else None for key in MODEL_COLUMNS[:2])
        shown[f"{row['comparison']}, {row['task']}"] = (value, low, high, theirs)
    title = f"Whether rewards keep more of the base's subspaces than solutions do: {name}"
    draw_intervals(places, shown, "Subspace preservation (uncentred), RL minus SFT",
                   title.replace("_", " "), label="ours, 95 % interval over models")  # fmt: skip


def comparison_rows(tests: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Rows of one comparison: all layers together, and last the decisions, the published one first."""
    rows = [
        {key: row[key] for key in COLUMNS if key in row}
        for row in tests
        if row["layer"] == ALL and row["stream"] == STREAM
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


def _published(
    row: dict[str, str], setting: str, known: Mapping[tuple[str, str], float]
) -> dict[str, float | None]:
    """The published figures of a row, which is of all tasks and of a measure as published."""
    measure = DECIDING if row["measure"] == DECISION else row["measure"]
    if row["task"] != ALL or (measure, row["centring"]) not in MEASURED:
        return dict.fromkeys(PUBLISHED)
    return {
        f"{side}_published": known.get((setting, f"{side}_{measure}")) for side in ("sft", "rl")
    }


def _models(entry: dict[str, Any]) -> dict[str, str]:
    def stages(side: str) -> str:
        return "; ".join(f"{model}: {', '.join(of)}" for model, of in entry[side].items())

    return {
        "comparison": entry["name"], "base": entry["base"], "base_stages": ", ".join(entry["stages"]),
        "sft": ", ".join(entry["sft"]), "rl": ", ".join(entry["rl"]),
        "sft_stages": stages("sft"), "rl_stages": stages("rl"),
    }  # fmt: skip
