"""Problems that reasoning_gym generates, as raw rows."""

import difflib
from collections.abc import Iterator
from typing import Any

from reasoning_gym.factory import DATASETS, create_dataset

from atlas.errors import AtlasError


def generated_rows(
    task: str, seed: int, rows: int, config: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Problems with ``question``, ``answer`` and ``metadata``, the same for the same arguments.

    :raises AtlasError: for a task that there is not, or settings that it does not take.
    """
    if task not in DATASETS:
        near = difflib.get_close_matches(task, DATASETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise AtlasError(f"reasoning_gym has no task {task!r}{hint}")
    try:
        made = create_dataset(task, seed=seed, size=rows, **config)
    except (TypeError, ValueError, AssertionError) as error:
        raise AtlasError(f"reasoning_gym, {task}: the settings are not taken: {error}") from None
    for number in range(rows):
        yield {key: made[number][key] for key in ("question", "answer", "metadata")}
