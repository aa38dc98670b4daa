"""Rewards that a program verifies: what a model wrote, held against the problem's answer."""

import re
from typing import Any

from atlas.errors import AtlasError
from atlas.sources.raw_rows import lookup

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def reward(completion: str, entry: dict[str, Any], grader: str, answer: str, column: str) -> float:
    """What a completion earns, from 0 to 1.

    :param grader: ``reasoning_gym``, the score that the task's own grader gives the answer;
        ``number``, 1 where the answer is the number that ends the reference, else 0 (GSM8K).
    :param answer: how the answer is taken from the completion (:func:`answer_of`).
    :param column: dotted path of the reference in the raw row (``number``).
    :raises AtlasError: where the row is not one that the grader knows.
    """
    given = answer_of(completion, answer)
    if grader == "number":
        reference = answer_of(str(lookup(entry, column, "a problem")), "last_number")
        if reference is None:
            raise AtlasError(
                f"a problem: {entry!r} has no number in {column!r}, which the grader number needs."
            )
        number = None if given is None else answer_of(given, "last_number")
        return float(number is not None and float(number) == float(reference))
    return _grader(entry)(given, entry)


def answer_of(completion: str, how: str) -> str | None:
    """The answer within a completion, or None where there is none.

    :param how: ``first_number`` or ``last_number`` (thousands' commas dropped), ``first_line``,
        ``tag`` (the last <answer>…</answer>), or ``text``, all of it.
    """
    if how == "text":
        return completion.strip() or None
    if how == "first_line":
        return next((line.strip() for line in completion.strip().splitlines()), None)
    if how == "tag":
        tags = re.findall(r"<answer>(.*?)</answer>", completion, flags=re.DOTALL)
        return tags[-1].strip() if tags else None
    numbers = [number.replace(",", "") for number in NUMBER.findall(completion)]
    if not numbers:
        return None
    return numbers[0] if how == "first_number" else numbers[-1]


def _grader(entry: dict[str, Any]) -> Any:
    """The grader of the reasoning_gym task that made a row."""
    from reasoning_gym.factory import DATASETS

    metadata = entry.get("metadata")
    task = metadata.get("source_dataset") if isinstance(metadata, dict) else None
    if task not in DATASETS:
        raise AtlasError(
            f"a problem: {entry!r} does not name a reasoning_gym task in metadata.source_dataset, "
            "which the grader reasoning_gym needs."
        )
    made, settings = DATASETS[task]
    return made(config=settings(seed=0, size=1)).score_answer
