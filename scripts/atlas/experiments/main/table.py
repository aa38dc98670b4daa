"""The tables of the paper: tidy for programs, laid out as published for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.experiments.marks import AVERAGE
from atlas.figures.charts import draw_intervals
from atlas.files import read_csv, write_bytes, write_csv
from atlas.spaces.names import space_title

MAIN_COLUMNS = ("space", "dimension", "distance", "pool", "base", "models", "silhouette",
                "published")  # fmt: skip


def main_table(
    *, silhouettes: list[Path], pools: list[str], bases: dict[str, list[str]],
    columns: dict[str, str], published: Path, table: Path, page: Path, figure: list[Path]
) -> None:  # fmt: skip
    """Write main.csv and main.md: silhouettes of all spaces and pools, and their mean; and a figure.

    :param silhouettes: silhouette.csv of each pool, in the order of `pools`.
    :param bases: pool -> its bases.
    :param columns: pool -> published column that stands beside its clipped row.
    :param published: published silhouettes (family, space, silhouette).
    :param figure: where it goes (:func:`atlas.figures.canvas.write`).
    """
    known = {(row["family"], row["space"]): float(row["silhouette"]) for row in read_csv(published)}
    rows: list[dict[str, Any]] = []
    drawn: dict[str, tuple[float, float | None, float | None, float | None]] = {}
    for pool, file in zip(pools, silhouettes, strict=True):
        for line in read_csv(file):
            if line["label"] != "domain":
                continue
            clipped = line["distance"] == "cosine_clipped"
            family = columns.get(pool)
            rows.append({
                "space": line["space"], "dimension": line["dimension"] or None,
                "distance": line["distance"], "pool": pool, "base": "+".join(bases[pool]),
                "models": int(line["models"]),
                "silhouette": float(line["silhouette"]) if line["silhouette"] else None,
                "published": known.get((family, line["space"])) if clipped and family else None,
            })  # fmt: skip
            if clipped and line["silhouette"]:
                low, high = (float(line[key]) if line.get(key) else None for key in ("low", "high"))
                label = f"{pool}, {space_title(line['space']).lower()}"
                drawn[label] = (rows[-1]["silhouette"], low, high, rows[-1]["published"])
    drawn = dict(sorted(drawn.items(), key=lambda item: (item[0].split(", ")[0], -item[1][0])))
    draw_intervals(figure, drawn, "Silhouette (clipped cosine distance)",
                   "Whether the domains of models stand apart, by space")  # fmt: skip
    rows += averages(rows, pools)
    write_csv(table, MAIN_COLUMNS, rows)
    # The spaces of the published table in its order, then the others in that of the pools.
    shown = [*pools, AVERAGE] if len(pools) > 1 else pools
    spaces = dict.fromkeys([*(space for _, space in known), *(row["space"] for row in rows)])
    write_bytes(page, main_page(rows, shown, columns, list(spaces)).encode())


def averages(rows: Sequence[dict[str, Any]], pools: Sequence[str]) -> list[dict[str, Any]]:
    """The mean over pools of each space and distance; empty where a pool has no figure."""
    found = []
    for space, kind in dict.fromkeys((row["space"], row["distance"]) for row in rows):
        group = [row for row in rows if (row["space"], row["distance"]) == (space, kind)]
        if len(group) > len(pools):
            raise AtlasError(f"{space}: a pool has two rows for the distance {kind}.")
        whole = len(group) == len(pools)
        found.append({
            "space": space, "dimension": None, "distance": kind, "pool": AVERAGE, "base": None,
            "models": sum(row["models"] for row in group),
            "silhouette": _mean([row["silhouette"] for row in group]) if whole else None,
            "published": _mean([row["published"] for row in group]) if whole else None,
        })  # fmt: skip
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None


def main_page(
    rows: Sequence[dict[str, Any]],
    pools: Sequence[str],
    columns: dict[str, str],
    spaces: Sequence[str],
) -> str:
    """main.md: spaces down, pools across, the published figure in brackets."""
    lines = ["# Silhouette by domain, per embedding space", ""]
    for kind, title in (
        ("cosine_clipped", "Distance clip(1 - cosine, 0, 1), as published"),
        ("cosine", "Distance 1 - cosine"),
    ):
        lines += [f"## {title}", ""]
        lines += ["| Embedding space | Dimension | " + " | ".join(pools) + " |"]
        lines += ["|---|--:|" + "--:|" * len(pools)]
        for space in [s for s in spaces if any(row["space"] == s for row in rows)]:
            cells = {row["pool"]: row for row in rows
                     if row["space"] == space and row["distance"] == kind}  # fmt: skip
            sizes = dict.fromkeys(str(c["dimension"]) for c in cells.values() if c["dimension"])
            texts = [_cell(cells.get(pool)) for pool in pools]
            lines.append(f"| {space_title(space)} | {', '.join(sizes) or '–'} | "
                         + " | ".join(texts) + " |")  # fmt: skip
        lines.append("")
    if columns:
        beside = "; ".join(f"{pool}: {family}" for pool, family in columns.items())
        lines += [
            "In brackets: the figure that arXiv 2509.04442 reports for its own models of about "
            f"eight billion parameters ({beside}). It stands beside ours for orientation; the "
            "models differ.", "",
        ]  # fmt: skip
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None or row["silhouette"] is None:
        return "–"
    published = row["published"]
    return f"{row['silhouette']:z.3f}" + (f" ({published:.3f})" if published is not None else "")
