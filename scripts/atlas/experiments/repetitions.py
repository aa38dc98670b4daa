"""Experiments that were repeated with several seeds: their mean and spread."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from atlas.experiments.marks import MEAN, SPREAD


def with_summary(
    rows: Sequence[dict[str, Any]], keys: Sequence[str], values: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows, and after them two more for each group of rows that differ in seed only.

    Their seed is ``mean`` (arithmetic mean over seeds) and ``spread`` (sample standard deviation);
    other columns than keys and values are those of the first row of the group, where they agree.

    :param rows: with a column ``seed``; a single seed has no summary.
    :param keys: columns that tell groups. :param values: columns that are summarised.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    summary = []
    for group in groups.values():
        if len(group) < 2:
            continue
        common = {k: v for k, v in group[0].items() if all(row[k] == v for row in group)}
        for name, function in ((MEAN, statistics.fmean), (SPREAD, statistics.stdev)):
            row = {**dict.fromkeys(group[0]), **common, "seed": name}
            for value in values:
                numbers = [r[value] for r in group]
                row[value] = None if None in numbers else function(numbers)
            summary.append(row)
    return [*rows, *summary]


def settled(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Of rows by seed the means over seeds where there are any, else the rows as they are."""
    means = [row for row in rows if row["seed"] == MEAN]
    return means or [row for row in rows if row["seed"] != SPREAD]
