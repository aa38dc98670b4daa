"""The page of a table of geometry."""

from collections.abc import Sequence
from typing import Any

from atlas.geometry.comparisons import ALL, KEPT

DECISION = "decision"
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
                      "| measure | SFT | RL | RL − SFT | 95 % interval | p (permutation, corrected) | "
                      "Welch's t | Cohen's d | decision |",
                      "|---|--:|--:|--:|---|--:|--:|--:|---|"]  # fmt: skip
            lines += [
                _line(row) for row in own if row["task"] == task and row["measure"] != DECISION
            ]
            lines.append("")
    lines += [
        "The residual stream after each block, centred where a measure knows a centring; pairs are "
        "of the same layer and task. The interval is a bootstrap over pairs; p is of random flips of "
        "the signs of the pairs, corrected by Bonferroni for the number of layers. A decision is "
        "about measures of what is kept of the base: strong (RL higher, corrected p < .01, d > .5), "
        "moderate (p < .05, d > .3), unexpected (SFT higher, p < .05), else weak.", "",
    ]  # fmt: skip
    return lines


def _decision(rows: Sequence[dict[str, Any]]) -> list[str]:
    (row,) = (row for row in rows if row["measure"] == DECISION)
    found = row["decision"] or f"none ({row['reason']})"
    return [f"Decision, by {DECIDING.replace('_', ' ')} over all tasks: **{found}**."]


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
        return f"| {row['measure']} | – | – | – | {row['reason']} | – | – | – | – |"
    keys = ("sft_mean", "rl_mean", "difference", "p_permutation_corrected", "welch_t", "cohens_d")
    sft, rl, difference, p, t, d = (_short(row[key]) for key in keys)
    interval = f"{_short(row['low'])} to {_short(row['high'])}"
    return (f"| {row['measure']} | {sft} | {rl} | {difference} | {interval} | {p} | {t} | {d} | "
            f"{row['decision'] or '–'} |")  # fmt: skip


def _short(text: str) -> str:
    return f"{float(text):.3g}" if text else "–"
