"""Silhouettes of several pools side by side: the table behind most experiments."""

from pathlib import Path
from typing import Any

from atlas.experiments.published import beside, check_settings, published_figures
from atlas.experiments.repetitions import with_summary
from atlas.figures.charts import draw_intervals
from atlas.files import read_csv, write_bytes, write_csv
from atlas.spaces.names import space_title

COLUMNS = ("pool", "seed", "setting", "label", "space", "dimension", "distance", "models", "labels",
           "silhouette", "p_value", "low", "high", "published", "reason")  # fmt: skip


def silhouettes_table(
    *, silhouettes: list[Path], pools: list[list[Any]], spaces: list[str], settings: dict[str, str],
    perplexities: list[Path], published: Path, name: str, table: Path, page: Path,
    figure: list[Path]
) -> None:  # fmt: skip
    """Write a table of silhouettes with p-values and intervals, its page and its figure.

    :param silhouettes: silhouette.csv of each pool and seed.
    :param pools: pool, seed and name of the folder of each of them.
    :param spaces: spaces of the table; none for all of the pools.
    :param settings: pool -> setting of the published figures; these stand beside the clipped
        silhouette by domain only, as published.
    :param perplexities: perplexity.csv of the bases that were pre-trained further, for the page.
    :param figure: where it goes (:func:`atlas.figures.canvas.write`).
    """
    known = published_figures(published, name)
    check_settings(known, name, set(settings.values()))
    rows: list[dict[str, Any]] = []
    for (pool, seed, _), file in zip(pools, silhouettes, strict=True):
        setting = settings.get(pool)
        for line in read_csv(file):
            if spaces and line["space"] not in spaces:
                continue
            row: dict[str, Any] = {key: line.get(key) or None for key in COLUMNS}
            for key in ("silhouette", "p_value", "low", "high"):
                row[key] = float(line[key]) if line[key] else None
            beside_it = line["distance"] == "cosine_clipped" and line["label"] == "domain"
            figure_there = known.get((setting or "", line["space"])) if beside_it else None
            rows.append({**row, "pool": pool, "seed": seed, "setting": setting,
                         "published": figure_there})  # fmt: skip
    rows = with_summary(rows, ("pool", "label", "space", "distance"), ("silhouette",))
    write_csv(table, COLUMNS, rows)
    write_bytes(
        page, _page(rows, name, [row for file in perplexities for row in read_csv(file)]).encode()
    )
    first = pools[0][1]
    shown = {
        f"{row['pool']}, {space_title(row['space']).lower()}"
        + ("" if row["label"] == "domain" else f" by {row['label']}"):
        (row["silhouette"], row["low"], row["high"], row["published"])
        for row in rows
        if row["distance"] == "cosine_clipped" and row["silhouette"] is not None and row["seed"] == first
    }  # fmt: skip
    draw_intervals(figure, shown, "Silhouette (clipped cosine distance)",
                   f"Whether labels stand apart: {name.replace('_', ' ')}")  # fmt: skip


def _page(rows: list[dict[str, Any]], name: str, continued: list[dict[str, str]]) -> str:
    lines = [f"# Silhouettes: {name.replace('_', ' ')}", ""]
    for kind, title in (("cosine_clipped", "Distance clip(1 - cosine, 0, 1), as published"),
                        ("cosine", "Distance 1 - cosine")):  # fmt: skip
        lines += [f"## {title}", "", "| pool | seed | by | space | models | silhouette | 95 % interval | p |",
                  "|---|---|---|---|--:|--:|---|--:|"]  # fmt: skip
        for row in (r for r in rows if r["distance"] == kind):
            spread, sure = "–", "–"
            if row["low"] is not None:
                spread = f"{row['low']:.2f} to {row['high']:.2f}"
                sure = f"{row['p_value']:.3f}"
            cells = (row["pool"], row["seed"], row["label"], row["space"], row["models"],
                     beside(row["silhouette"], row["published"]), spread, sure)  # fmt: skip
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        lines.append("")
    lines += ["The interval is a bootstrap over models, p the share of random labellings with a "
              "silhouette as large. In brackets: what arXiv 2509.04442 reports for its own models.",
              ""]  # fmt: skip
    for row in continued:
        lines += [f"The continued pre-training `{row['model']}` of `{row['base']}` takes the "
                  f"perplexity of {row['documents']} held-out texts of {row['dataset']} from "
                  f"{float(row['base_perplexity']):.2f} to {float(row['perplexity']):.2f} "
                  f"({float(row['change']):+.0%}).", ""]  # fmt: skip
    return "\n".join(lines)
