"""The table of the periods: what a delta does to each model, and to the distances between them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atlas.experiments.checkpoint_rows import COLUMNS, checkpoint_page, checkpoint_rows
from atlas.figures.charts import draw_groups
from atlas.files import write_bytes, write_csv
from atlas.spaces.embeddings import read_embeddings

DISTANCE_COLUMNS = ("pool", "space", "delta", "one", "other", "distance", "reason")


def temporal_table(
    *, evaluations: list[Path], entries: list[dict[str, str]], embeddings: list[Path],
    pools: list[str], pairs: list[list[str]], name: str, table: Path, distances: Path, page: Path,
    figure: list[Path]
) -> None:  # fmt: skip
    """Write the same rows, and how far the models stand from one another before and after a delta.

    :param embeddings: of each pool of `pools`, in that order, any number of spaces each.
    :param pairs: one, other, and the delta that both have ("" for none).
    :param distances: pool, space, delta, one, other, distance (1 - cosine), reason.
    :param figure: perplexity of each checkpoint on each text.
    """
    rows = list(checkpoint_rows(evaluations, entries))
    write_csv(table, COLUMNS, rows)
    apart = list(pair_distances(embeddings, pools, pairs))
    write_csv(distances, DISTANCE_COLUMNS, apart)
    write_bytes(page, "\n".join([*checkpoint_page(rows), *_distance_page(apart)]).encode())
    texts = [row for row in rows if row["measure"] == "perplexity"]
    labels = list(dict.fromkeys(row["on"] for row in texts))
    values = {(row["checkpoint"], row["on"]): row["value"] for row in texts}
    groups = {c: [values[c, on] for on in labels] for c in dict.fromkeys(c for c, _ in values)}
    draw_groups(figure, groups, labels, "Perplexity on held-out text (lower is better)",
                "Which model reads which text best")  # fmt: skip


def pair_distances(
    embeddings: Sequence[Path], pools: Sequence[str], pairs: Sequence[Sequence[str]]
) -> Iterator[dict[str, Any]]:
    """1 - cosine of each pair of models in each space of each pool that has both.

    A space that has no embedding of the pool gives a row with its reason.
    """
    for pool, file in zip(pools, embeddings, strict=True):
        stored = read_embeddings(file)
        places = {name: i for i, name in enumerate(stored.model_names)}
        similarity = None if stored.reason else stored.cosine_similarity()
        for one, other, delta in pairs:
            if one not in places or other not in places:
                continue
            distance = None
            if similarity is not None:
                distance = float(1 - similarity[places[one], places[other]])
            yield {"pool": pool, "space": stored.space, "delta": delta, "one": one, "other": other,
                   "distance": distance, "reason": stored.reason}  # fmt: skip


def _distance_page(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["## Distance of the models, before and after the delta", "",
             "| space | delta | one | other | 1 - cosine |", "|---|---|---|---|--:|"]  # fmt: skip
    for row in rows:
        shown = f"– ({row['reason']})" if row["reason"] else f"{row['distance']:.4f}"
        lines.append(f"| {row['space']} | {row['delta'] or 'none'} | {row['one']} | {row['other']} "
                     f"| {shown} |")  # fmt: skip
    return [*lines, ""]
