"""Which raw rows a line of a model's rows.jsonl comes from."""

from typing import Any


def origins(line: dict[str, Any]) -> list[tuple[str, int]]:
    """dataset/split and row id of a training row; a packed one has several."""
    if "dataset" in line:
        return [(f"{line['dataset']}/{line['split']}", line["row"])]
    return [(str(name), int(number)) for name, number in line.get("rows", [])]
