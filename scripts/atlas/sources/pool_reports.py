"""The report of a pool with models made elsewhere, and the gate that reads it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import read_csv, write_csv

COLUMNS = ("model", "base", "source", "commit", "sha256", "bytes", "excluded", "reason")
TOLD = 20  # models that a message names


def report_pool(
    *, shards: list[Path], models: list[dict[str, Any]], excluded: list[str], report: Path
) -> None:
    """Write report.csv: every model made elsewhere of a pool, and why it cannot be used where it cannot.

    :param models: name and source (in words) of each model, the excluded ones among them.
    :param excluded: names that the configuration leaves out of the pool.
    :raises AtlasError: where a model is in no shard.
    """
    found = {row["model"]: row for file in shards for row in read_csv(file)}
    rows = []
    for model in models:
        if model["name"] not in found:
            raise AtlasError(f"{report.parent}: no shard has a row for {model['name']}.")
        rows.append({**found[model["name"]], "source": model["source"],
                     "excluded": str(model["name"] in excluded).lower()})  # fmt: skip
    write_csv(report, COLUMNS, rows)


def refuse_unusable(rows: Sequence[Mapping[str, str]], pool: str) -> None:
    """The gate: no table is made of fewer models than were asked for.

    :param rows: of report.csv.
    :raises AtlasError: naming all models that cannot be used and are not excluded.
    """
    bad = [row for row in rows if row["reason"] and row["excluded"] != "true"]
    if bad:
        told = " ".join(
            f"{row['model']}: {row['reason'].removeprefix(row['model'] + ': ').rstrip('.')}."
            for row in bad[:TOLD]
        )
        more = f" And {len(bad) - TOLD} more." if len(bad) > TOLD else ""
        raise AtlasError(
            f"{len(bad)} of {len(rows)} models of {pool} cannot be used. {told}{more} All are in "
            f"results/pools/{pool}/report.csv; mend their lines, or name them in "
            f"pools.{pool}.excluded: [{', '.join(row['model'] for row in bad[:TOLD])}]."
        )
