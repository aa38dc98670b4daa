"""Looking models up by a model trained on a handful of examples of a task."""

from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import AtlasError
from atlas.experiments.marks import ACCURACY
from atlas.experiments.published import beside, check_settings, published_figures
from atlas.experiments.repetitions import with_summary
from atlas.figures.charts import draw_groups
from atlas.files import write_bytes, write_csv
from atlas.spaces.embeddings import Embeddings, cosine, read_embeddings

COLUMNS = ("pool", "seed", "base", "query", "domain", "candidates", "rank", "nearest", "nearest_domain",
           "similarity", "accuracy", "published")  # fmt: skip


def retrieval_table(
    *, pools: list[Path], queries: list[Path], names: list[list[Any]], settings: dict[str, str],
    published: Path, name: str, table: Path, page: Path, figure: list[Path]
) -> None:  # fmt: skip
    """Write the table of retrieval: for each query the rank of its domain's first model.

    :param pools, queries: delta activations of each pool and, in the same order, of its queries.
    :param names: pool, seed and folder of each of them.
    :param settings: pool -> setting of the published figures.
    :param figure: where it goes (:func:`atlas.figures.canvas.write`).
    """
    known = published_figures(published, name)
    check_settings(known, name, set(settings.values()))
    rows: list[dict[str, Any]] = []
    for (pool, seed, _), pool_file, query_file in zip(names, pools, queries, strict=True):
        found = look_up(read_embeddings(pool_file), read_embeddings(query_file))
        rows += [{**dict.fromkeys(COLUMNS), "pool": pool, "seed": seed, **row} for row in found]
        hits = [float(row["rank"] == 1) for row in found]
        rows.append({
            **dict.fromkeys(COLUMNS), "pool": pool, "seed": seed, "query": ACCURACY,
            "candidates": max(row["candidates"] for row in found), "accuracy": sum(hits) / len(hits),
            "published": known.get((settings.get(pool, ""), ACCURACY)),
        })  # fmt: skip
    accuracies = with_summary([r for r in rows if r["query"] == ACCURACY], ("pool",), ("accuracy",))
    write_csv(table, COLUMNS, [*(r for r in rows if r["query"] != ACCURACY), *accuracies])
    write_bytes(page, _page(rows).encode())
    groups = {f"{r['query']} ({r['pool']})": [float(r["rank"])] for r in rows
              if r["rank"] and r["seed"] == rows[0]["seed"]}  # fmt: skip
    about = " ".join(
        f"{r['pool']}: the nearest model has the query's domain in a share of "
        f"{beside(r['accuracy'], r['published'])} of the queries"
        f"{' (in brackets: published)' if r['published'] is not None else ''}."
        for r in rows if r["query"] == ACCURACY and r["seed"] == rows[0]["seed"]
    )  # fmt: skip
    draw_groups(figure, groups, ("rank",), "Rank of the first model of the domain (1 is best)",
                "How far down the first model of the domain of a few examples stands",
                about=about)  # fmt: skip


def look_up(pool: Embeddings, queries: Embeddings) -> list[dict[str, Any]]:
    """Each query against the models of its own base.

    :returns: base, query, domain, candidates, rank (of the nearest model of the query's domain,
        from 1), nearest, nearest_domain, similarity (of the nearest model).
    :raises AtlasError: where a query has no model of its base, or of its domain, to be found.
    """
    if pool.embeddings is None or queries.embeddings is None:
        raise AtlasError(f"nothing can be looked up: {pool.reason or queries.reason}.")
    rows = []
    for i, query in enumerate(queries.model_names):
        base, domain = queries.base_model[i], queries.domains[i]
        members = [j for j, other in enumerate(pool.base_model) if other == base]
        if not any(pool.domains[j] == domain for j in members):
            raise AtlasError(f"{query}: the pool has no model of {base} in the domain {domain!r}.")
        near = [cosine(queries.embeddings[i], pool.embeddings[j]) for j in members]
        order = sorted(range(len(members)), key=lambda k: (-near[k], pool.model_names[members[k]]))
        ranked = [members[k] for k in order]
        rank = next(n for n, j in enumerate(ranked, start=1) if pool.domains[j] == domain)
        rows.append({
            "base": base, "query": query, "domain": domain, "candidates": len(members),
            "rank": rank, "nearest": pool.model_names[ranked[0]],
            "nearest_domain": pool.domains[ranked[0]], "similarity": float(np.max(near)),
        })  # fmt: skip
    return rows


def _page(rows: list[dict[str, Any]]) -> str:
    lines = ["# Models found by a few examples of their task", "",
             "| pool | query | domain | rank | nearest model | its domain |",
             "|---|---|---|--:|---|---|"]  # fmt: skip
    for row in (r for r in rows if r["query"] != ACCURACY):
        lines.append(f"| {row['pool']} | {row['query']} | {row['domain']} | {row['rank']} | "
                     f"{row['nearest']} | {row['nearest_domain']} |")  # fmt: skip
    lines.append("")
    for row in (r for r in rows if r["query"] == ACCURACY):
        lines += [f"{row['pool']}: the nearest model has the query's domain in "
                  f"{beside(row['accuracy'], row['published'])} of the queries.", ""]  # fmt: skip
    return "\n".join(lines)
