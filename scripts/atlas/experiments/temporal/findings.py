"""What the table of the periods says: which model reads which text best, how far they stand apart."""

from atlas.experiments.checkpoint_findings import ONE_EACH, TEXT, deltas_findings
from atlas.experiments.wording import Beside, Rows, listed, moved, number, space_name


def findings(table: Rows, beside: Beside) -> list[str]:
    """Findings of the periods: which model reads which text best, and how far they stand apart.

    :param beside: distances, the table's second file.
    """
    found = []
    texts = [row for row in table if row["measure"] == TEXT]
    for text in dict.fromkeys(row["on"] for row in texts):
        models = {row["model"]: float(row["value"]) for row in texts
                  if (row["on"], row["role"]) == (text, "model")}  # fmt: skip
        base = next(float(r["value"]) for r in texts if (r["on"], r["role"]) == (text, "base"))
        order = sorted(models, key=lambda name: models[name])
        figures = listed([f"`{name}` {number(models[name], 1)}" for name in order])
        found.append(
            f"On `{text}`, the lowest perplexity is that of `{order[0]}`: {figures}; the base has "
            f"{number(base, 1)}."
        )
    known = {(r["pool"], r["space"], r["delta"], r["one"], r["other"]): float(r["distance"])
             for r in beside["distances"] if r["distance"]}  # fmt: skip
    for pool, space, delta, one, other in known:
        plain = (pool, space, "", *(name.removesuffix(f"+{delta}") for name in (one, other)))
        if delta and plain in known:
            change = moved(known[plain], known[pool, space, delta, one, other])
            found.append(f"By {space_name(space)}, the distance of `{plain[3]}` and `{plain[4]}` "
                         f"{change} with the delta `{delta}`.")  # fmt: skip
    return [*deltas_findings(table), *found, ONE_EACH]
