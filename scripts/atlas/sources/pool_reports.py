"""The report of a pool whose adapters are not kept, and the gate that reads it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import read_csv, write_csv

COLUMNS = ("model", "domain", "base", "source", "commit", "sha256", "bytes", "excluded", "reason")


def report_pool(
    *, shards: list[Path], models: list[dict[str, Any]], excluded: list[str], report: Path
) -> None:
    """Write report.csv: every adapter of a pool, and why it has no activations where it has none.

    :param models: name, domain and source (in words) of each model, the excluded ones among them.
    :param excluded: names that the configuration leaves out of the pool.
    :raises AtlasError: where an adapter is in no shard.
    """
    found = {row["model"]: row for file in shards for row in read_csv(file)}
    rows = []
    for model in models:
        if model["name"] not in found:
            raise AtlasError(f"{report.parent}: no shard has a row for {model['name']}.")
        rows.append({**found[model["name"]], "domain": model["domain"], "source": model["source"],
                     "excluded": str(model["name"] in excluded).lower()})  # fmt: skip
    write_csv(report, COLUMNS, rows)


def refuse_unusable(rows: Sequence[Mapping[str, str]], pool: str) -> None:
    """The gate: no table is made of fewer models than were asked for.

    :raises AtlasError: where an adapter has no activations and is not excluded.
    """
    bad = [row for row in rows if row["reason"] and row["excluded"] != "true"]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise AtlasError(
            f"{len(bad)} of {len(rows)} adapters of {pool} cannot be used: "
            f"{bad[0]['model']}: {bad[0]['reason']}{more} All are in results/pools/{pool}/report.csv; "
            f"mend their lines of the sheet, or name them in pools.{pool}.excluded."
        )
