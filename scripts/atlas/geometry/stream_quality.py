"""Checks of extracted activations, those of the published analysis: hooks, NaN and Inf, magnitudes."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.geometry.stream_files import USUAL, StreamFile, hook_names

COLUMNS = ("file", "hook", "check", "value", "low", "high", "passed")


def check_streams(
    file: Path, layers: int, low: float = 1.0, high: float = 1000.0,
    wanted: Collection[str] = USUAL
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows (COLUMNS) of one file; a check passes where low <= value <= high.

    ``hooks`` (of the file, hook empty): how many of the hooks are there. ``present``, per hook: 1
    or 0. ``not_finite``: values that are NaN or Inf. ``mean_norm``: mean Euclidean norm of the
    rows. ``passed`` is 1 or 0. A hook that is not there has no other checks.

    :param layers: blocks of the network. :param low, high: bounds of the mean norm, any layer; as
        published for the stream in the middle of a network. :param wanted: streams of each block.
    :raises AtlasError: where the file is damaged.
    """
    hooks = hook_names(layers, wanted)
    with StreamFile(file) as stored:
        there = [hook for hook in hooks if hook in stored.hooks]
        strange = [hook for hook in stored.hooks if hook not in hooks]
        full = len(hooks)
        rows = [_row(file, "", "hooks", len(there) + len(strange), full, full)]
        for hook in hooks:
            rows.append(_row(file, hook, "present", int(hook in there), 1, 1))
            if hook not in there:
                continue
            array = stored.read(hook)
            broken = int(array.size - np.isfinite(array).sum())
            rows.append(_row(file, hook, "not_finite", broken, 0, 0))
            with np.errstate(invalid="ignore", over="ignore"):
                norm = float(np.linalg.norm(array.astype(np.float64), axis=1).mean())
            rows.append(_row(file, hook, "mean_norm", norm, low, high))
    return rows


def _row(
    file: Path, hook: str, check: str, value: float, low: float, high: float
) -> dict[str, Any]:
    passed = int(low <= value <= high)  # NaN is within no bounds
    row = (str(file), hook, check, value, low, high, passed)
    return dict(zip(COLUMNS, row, strict=True))


def refuse_bad_streams(quality: Path) -> None:
    """Stop where a check failed.

    :raises AtlasError: naming file, hook and check of the first one, and how many failed.
    """
    failed = [row for row in read_csv(quality) if row["passed"] != "1"]
    if failed:
        first = failed[0]
        more = f" ({len(failed)} checks failed, see {quality})" if len(failed) > 1 else ""
        where = f"{first['file']}: {first['hook']}" if first["hook"] else first["file"]
        raise AtlasError(
            f"{where}: the check {first['check']} failed: {first['value']}, and {first['low']} to "
            f"{first['high']} would be right{more}."
        )
