"""The family of delta activations: which space, which layer, how many probes."""

from pathlib import Path
from typing import Any

from atlas.experiments.marks import LAYER, PROBES, SPACE
from atlas.experiments.repetitions import with_summary
from atlas.figures.charts import draw_curves
from atlas.files import read_csv, write_bytes, write_csv

COLUMNS = ("pool", "seed", "curve", "value", "space", "dimension", "silhouette", "p_value", "low",
           "high", "reason")  # fmt: skip


def spaces_table(
    *, silhouettes: list[Path], curves: list[Path], pools: list[list[Any]], table: Path, page: Path,
    figure: list[Path]
) -> None:  # fmt: skip
    """Write the table of the family: silhouettes by domain, plain cosine distance.

    Rows of the curve ``space`` are the spaces as they are; of ``layer`` delta activations read at
    that layer (0: the embeddings); of ``probes`` their mean over so many probes.

    :param silhouettes, curves: of each pool and seed.
    :param pools: pool, seed and folder of each of them.
    :param figure: where it goes (:func:`atlas.figures.canvas.write`).
    """
    rows: list[dict[str, Any]] = []
    for (pool, seed, _), scores, file in zip(pools, silhouettes, curves, strict=True):
        found = [
            {**line, "curve": SPACE, "value": ""}
            for line in read_csv(scores)
            if line["distance"] == "cosine" and line["label"] == "domain"
        ]
        for line in [*found, *read_csv(file)]:
            row: dict[str, Any] = {key: line.get(key) or None for key in COLUMNS}
            for key in ("silhouette", "p_value", "low", "high"):
                row[key] = float(row[key]) if row[key] else None
            rows.append({**row, "pool": pool, "seed": seed})
    rows = with_summary(rows, ("pool", "curve", "value", "space"), ("silhouette",))
    write_csv(table, COLUMNS, rows)
    write_bytes(page, _page(rows).encode())
    first = pools[0][1]
    lines = {
        curve: {
            pool: [(int(r["value"]), r["silhouette"], r["low"], r["high"]) for r in rows
                   if (r["pool"], r["curve"], r["seed"]) == (pool, curve, first)
                   and r["value"] and r["silhouette"] is not None]
            for pool in dict.fromkeys(p for p, _, _ in pools)
        }
        for curve in (LAYER, PROBES)
    }  # fmt: skip
    titles = {LAYER: "Layer that is read", PROBES: "Number of probes"}
    draw_curves(figure, {titles[k]: v for k, v in lines.items()}, "Silhouette (1 - cosine)",
                "Where delta activations are read, and from how many probes")  # fmt: skip


def _page(rows: list[dict[str, Any]]) -> str:
    lines = ["# The family of delta activations", ""]
    for curve, title in ((SPACE, "Spaces"), (LAYER, "By layer"), (PROBES, "By number of probes")):
        lines += [f"## {title}", "", f"| pool | seed | {curve} | silhouette |", "|---|---|---|--:|"]
        for row in (r for r in rows if r["curve"] == curve):
            what = row["space"] if curve == SPACE else row["value"] or "–"
            value = f"{row['silhouette']:z.3f}" if row["silhouette"] is not None else row["reason"]
            lines.append(f"| {row['pool']} | {row['seed']} | {what} | {value or '–'} |")
        lines.append("")
    return "\n".join(lines)
