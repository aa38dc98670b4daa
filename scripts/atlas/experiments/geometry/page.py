"""The page of a table of geometry."""

from collections.abc import Sequence
from typing import Any

from atlas.experiments.marks import DECISION
from atlas.geometry.comparisons import ALL, CENTRING, KEPT, PUBLISHED_CENTRING

DECIDING = KEPT[0]


def geometry_page(
    rows: Sequence[dict[str, Any]], comparisons: Sequence[dict[str, Any]]
) -> list[str]:
    """Lines of the page: each comparison with its models, its decision and a table per task."""
    lines = ["# Geometry: trained with rewards (RL) against fine-tuned on solutions (SFT)", ""]
    for entry in comparisons:
        own = [row for row in rows if row["comparison"] == entry["name"]]
        lines += [f"## {entry['name']}", "", "| model | side | training stages |", "|---|---|---|"]
        lines += [f"| {entry['base']} | base | {', '.join(entry['stages']) or '–'} |"]
        lines += [
            f"| {model} | {side.upper()} | {', '.join(stages)} |"
            for side in ("sft", "rl")
            for model, stages in entry[side].items()
        ]
        lines += ["", *_decision(own), "", *_rewards(own), ""]
        for task in dict.fromkeys(row["task"] for row in own):
            title = "All tasks" if task == ALL else task
            lines += [f"### {title}", "",
                      "| measure | activations | SFT (published) | RL (published) | RL − SFT | "
                      "95 % interval over models | p over models | over layers and tasks | "
                      "p (permutation, corrected) | Welch's t | Cohen's d | decision |",
                      "|---|---|--:|--:|--:|---|--:|---|--:|--:|--:|---|"]  # fmt: skip
            lines += [
                _line(row) for row in own if row["task"] == task and row["measure"] != DECISION
            ]
            lines.append("")
    lines += [
        "The residual stream after each block, as it is (uncentred) and with its mean over prompts "
        "taken off (centred); where the column of activations is empty, the two give the same. Published "
        "are subspace preservation and effective rank of uncentred activations, and CKA, which is of "
        "centred ones.", "",
        "The interval and p over models are Welch's, of one mean per model, and need two models a side. "
        "All else counts pairs of the same layer and task, which are of the same networks and say nothing "
        "of other models: a bootstrap interval, p of random flips of the signs of the pairs, corrected by "
        "Bonferroni for the number of layers, Welch's t, Cohen's d, and by these the published decision "
        "about measures of what is kept of the base: strong (RL higher, corrected p < .01, d > .5), "
        "moderate (p < .05, d > .3), unexpected (SFT higher, p < .05), else weak.", "",
    ]  # fmt: skip
    return lines


def _decision(rows: Sequence[dict[str, Any]]) -> list[str]:
    found = {
        row["centring"]: row["decision"] or f"none ({row['reason']})"
        for row in rows
        if row["measure"] == DECISION
    }
    return [
        f"Decision, by {DECIDING.replace('_', ' ')} over all tasks: **{found[PUBLISHED_CENTRING]}** as "
        f"published, of uncentred activations; **{found[CENTRING]}** of centred ones, which is ours."
    ]


def _rewards(rows: Sequence[dict[str, Any]]) -> list[str]:
    row = rows[0]
    if row["reward_slope"] is None:
        return [f"No reward slope: {row['reward_reason']}."]
    within = row["reward_low"] <= 0 <= row["reward_high"]
    return [
        f"The mean reward changes by {row['reward_slope']:.4f} per step over {row['reward_steps']} "
        f"steps (95 % interval {row['reward_low']:.4f} to {row['reward_high']:.4f}, which "
        f"{'includes' if within else 'excludes'} 0)."
    ]


def _line(row: dict[str, Any]) -> str:
    if row["reason"]:
        cells = ["–", "–", "–", row["reason"], *["–"] * 6]
    else:
        cells = [_beside(row, "sft"), _beside(row, "rl"), _short(row["difference"]),
                 _interval(row, "model_low", "model_high"), _short(row["model_p"]),
                 _interval(row, "low", "high"),
                 *(_short(row[key]) for key in ("p_permutation_corrected", "welch_t", "cohens_d")),
                 row["decision"] or "–"]  # fmt: skip
    return f"| {' | '.join([row['measure'], row['centring'], *cells])} |"


def _beside(row: dict[str, Any], side: str) -> str:
    """The mean of a side, the published figure in brackets."""
    theirs = row[f"{side}_published"]
    return _short(row[f"{side}_mean"]) + ("" if theirs is None else f" ({theirs:.3g})")


def _interval(row: dict[str, Any], low: str, high: str) -> str:
    return f"{_short(row[low])} to {_short(row[high])}" if row[low] else "–"


def _short(text: str) -> str:
    return f"{float(text):.3g}" if text else "–"
