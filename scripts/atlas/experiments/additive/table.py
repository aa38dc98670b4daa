"""Are embeddings additive? A model of a mixture against the models of its parts and their sum."""

from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.experiments.marks import QUANTITIES
from atlas.experiments.published import beside, published_figures
from atlas.experiments.repetitions import with_summary
from atlas.figures.charts import draw_groups
from atlas.files import write_bytes, write_csv
from atlas.spaces.embeddings import cosine, read_embeddings

COLUMNS = ("pool", "seed", "base", "first", "second", "mixed", *QUANTITIES,
           *(f"published_{name}" for name in QUANTITIES))  # fmt: skip
LABELS = ("with the first", "with the second", "with their sum")


def additive_table(
    *, embeddings: list[Path], mixtures: list[dict[str, Any]], published: Path, name: str,
    table: Path, page: Path, figure: list[Path]
) -> None:  # fmt: skip
    """Write the table of additivity, its page and its figure.

    :param embeddings: delta activations of each pool.
    :param mixtures: pool, seed, folder (of the pool with that seed), base, mixed, first, second
        (model names), first_domain, second_domain.
    :param figure: where it goes (:func:`atlas.figures.canvas.write`).
    """
    found = {}
    for file in embeddings:
        pool = read_embeddings(file)
        if pool.embeddings is None:
            raise AtlasError(f"{file}: {pool.reason}, so that nothing can be added.")
        found[file.parent.parent.name] = dict(zip(pool.model_names, pool.embeddings, strict=True))
    known = published_figures(published, name)
    rows = []
    for entry in mixtures:
        vectors = found[entry["folder"]]
        mixed, first, second = (vectors[entry[key]] for key in ("mixed", "first", "second"))
        domains = (entry["first_domain"], entry["second_domain"])
        figures = (cosine(mixed, first), cosine(mixed, second), cosine(mixed, first + second))
        row = {"pool": entry["pool"], "seed": entry["seed"], "base": entry["base"], "first": domains[0],
               "second": domains[1], "mixed": entry["mixed"]}  # fmt: skip
        row |= dict(zip(QUANTITIES, figures, strict=True))
        row |= _published(known, domains)
        rows.append(row)
    shown = [row for row in rows if row["seed"] == rows[0]["seed"]]
    write_csv(table, COLUMNS, with_summary(rows, ("pool", "base", "first", "second"), QUANTITIES))
    write_bytes(page, _page(shown).encode())
    groups = {f"{row['first']} + {row['second']}": [row[q] for q in QUANTITIES] for row in shown}
    theirs = {f"{row['first']} + {row['second']}": [row[f"published_{q}"] for q in QUANTITIES]
              for row in shown}  # fmt: skip
    draw_groups(figure, groups, LABELS, "Cosine with the model of a mixture",
                "Whether a model of a mixture is the sum of the models of its parts", theirs)  # fmt: skip


def _published(
    known: dict[tuple[str, str], float], domains: tuple[str, str]
) -> dict[str, float | None]:
    """The published figures of a pair of domains, in whichever order it was published."""
    first, second = domains
    turned = {"cosine_first": "cosine_second", "cosine_second": "cosine_first",
              "cosine_sum": "cosine_sum"}  # fmt: skip
    return {
        f"published_{q}": known.get(
            (f"{first}+{second}", q), known.get((f"{second}+{first}", turned[q]))
        )
        for q in QUANTITIES
    }


def _page(rows: list[dict[str, Any]]) -> str:
    closest = sum(
        row["cosine_sum"] >= max(row["cosine_first"], row["cosine_second"]) for row in rows
    )
    lines = ["# Models of mixtures, and the sum of the models of their parts", "",
             "| D1 | D2 | cos(mixed, D1) | cos(mixed, D2) | cos(mixed, D1 + D2) |",
             "|---|---|--:|--:|--:|"]  # fmt: skip
    for row in rows:
        cells = [beside(row[q], row[f"published_{q}"]) for q in QUANTITIES]
        lines.append(f"| {row['first']} | {row['second']} | " + " | ".join(cells) + " |")
    lines += ["", f"The mixture is closest to the sum in {closest} of {len(rows)} pairs. In brackets: "
              "what arXiv 2509.04442 reports for its own models.", ""]  # fmt: skip
    return "\n".join(lines)
