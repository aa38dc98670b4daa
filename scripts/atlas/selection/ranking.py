"""Models of a pool by their similarity to a task that is known by a few examples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.figures.charts import draw_groups
from atlas.files import write_bytes, write_csv
from atlas.spaces.embeddings import Embeddings, cosine, read_embeddings

COLUMNS = ("base", "rank", "model", "domain", "similarity")
SHOWN = 20


def rank_models(*, pool: Path, task: Path, query: str, models: Path) -> None:
    """Write models.csv: the models of a pool, the most similar to the task first.

    :param pool: delta activations of the pool. :param task: those of models of a few examples.
    :param query: the one of them that stands for the task.
    """
    write_csv(models, COLUMNS, ranking(read_embeddings(pool), read_embeddings(task), [query]))


def find_models(
    *, pool: Path, task: Path, queries: list[str], name: str, models: Path, page: Path,
    figure: list[Path],
) -> None:  # fmt: skip
    """Write the models of a pool by their similarity to a task, as a table, a page and a figure.

    :param queries: models that stand for the task, one per base of the pool.
    :param figure: where it goes (:func:`atlas.figures.canvas.write`).
    """
    rows = ranking(read_embeddings(pool), read_embeddings(task), queries)
    write_csv(models, COLUMNS, rows)
    lines = [f"# Models for {name}", "",
             "Cosine of delta activations: that of a model trained on the examples against those of "
             "the pool.", "",
             "| rank | model | domain | base | similarity |", "|--:|---|---|---|--:|"]  # fmt: skip
    lines += [
        f"| {r['rank']} | {r['model']} | {r['domain']} | {r['base']} | {r['similarity']:.3f} |"
        for r in rows
    ]
    write_bytes(page, ("\n".join(lines) + "\n").encode())
    best = [row for row in rows if row["rank"] <= SHOWN]
    groups = {f"{row['model']} ({row['domain']})": [row["similarity"]] for row in best}
    title = f"Which models resemble the task {name} most"
    draw_groups(figure, groups, ("similarity",), "Cosine of delta activations", title)


def ranking(pool: Embeddings, task: Embeddings, queries: Sequence[str]) -> list[dict[str, Any]]:
    """The models of a pool against a model of the task's examples, base by base.

    :returns: base, rank (from 1), model, domain, similarity.
    :raises AtlasError: where there are no embeddings, or no model of a base.
    """
    if pool.embeddings is None or task.embeddings is None:
        raise AtlasError(f"nothing can be ranked: {pool.reason or task.reason}.")
    rows = []
    for query in queries:
        i = task.model_names.index(query)
        base = task.base_model[i]
        members = [j for j, other in enumerate(pool.base_model) if other == base]
        if not members:
            raise AtlasError(f"{query}: the pool has no model of {base}.")
        near = {j: cosine(task.embeddings[i], pool.embeddings[j]) for j in members}
        order = sorted(members, key=lambda j: (-near[j], pool.model_names[j]))
        rows += [
            {"base": base, "rank": rank, "model": pool.model_names[j], "domain": pool.domains[j],
             "similarity": near[j]}
            for rank, j in enumerate(order, start=1)
        ]  # fmt: skip
    return rows
