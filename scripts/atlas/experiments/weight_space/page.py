"""The page of a table of weight space."""

from collections.abc import Sequence
from typing import Any

from atlas.experiments.weight_space.measures import MEASURES


def weight_space_page(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of the page: each comparison with its models, and a line per measure."""
    lines = ["# Weight space: trained with rewards (RL) against fine-tuned on solutions (SFT)", ""]
    for name in dict.fromkeys(row["comparison"] for row in rows):
        own = [row for row in rows if row["comparison"] == name]
        lines += [f"## {name}", "",
                  f"Base {own[0]['base']}. SFT: {own[0]['sft']}. RL: {own[0]['rl']}.", "",
                  "| measure | unit | SFT | RL | RL − SFT | 95 % interval over models | p |",
                  "|---|---|--:|--:|--:|---|--:|"]  # fmt: skip
        lines += [*map(_line, own), ""]
    return [
        *lines,
        "A weight changed where its value in bfloat16 differs from the base's; adapters are merged in "
        "float32 first. Rotation is by the principal angles between the leading singular subspaces of "
        "a matrix before and after, drift the change of the leading singular values; both are means "
        "over the matrices of the layers. What lies inside the leading subspaces, and which of the "
        "changed weights are principal (the largest of the best approximation of that rank), stand "
        "as times what random changes would have: above 1 is more than chance. Divergence and loss "
        "are on reference completions of rows held out. Intervals and p are Welch's t over models, p "
        "not corrected for the number of measures.", "",
    ]  # fmt: skip


def _line(row: dict[str, Any]) -> str:
    measure = MEASURES[row["measure"]]
    sft, rl, difference, p = map(
        short, (row[k] for k in ("sft_mean", "rl_mean", "difference", "p"))
    )
    interval = row["reason"] or f"{short(row['low'])} to {short(row['high'])}"
    return f"| {measure.label} | {measure.unit} | {sft} | {rl} | {difference} | {interval} | {p} |"


def short(value: float | None) -> str:
    """Three digits that count, with a typographic minus."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")
