"""What an instruction delta changes: per layer, and what comes back when it meets its own base."""

from pathlib import Path
from typing import Any

from atlas.deltas.instruction_deltas import identity
from atlas.files import read_json, write_csv, write_json

COLUMNS = ("layer", "elements", "elements_changed", "l2", "base_l2", "l2_relative",
           "underflow_share", "error_relative")  # fmt: skip
TOTAL = "total"


def delta_layers(
    *, base: list[Path], instruct: list[Path], delta: Path, meta: Path, table: Path, check: Path
) -> None:
    """Write norms per layer and in all, and how exactly base plus delta is the instruct model.

    :param base, instruct: files of the two. :param meta: delta_meta.json.
    :param table: a row per layer, and one with layer = total; l2 is the norm of the delta,
        l2_relative that by the norm of the base.
    :param check: elements, bit_exact, share, outside_bound (:func:`identity`).
    """
    known = read_json(meta)
    layers = sorted(known["layers"], key=_place)
    parts = {**{name: known["layers"][name] for name in layers}, TOTAL: known["total"]}
    write_csv(table, COLUMNS, [_row(name, part) for name, part in parts.items()])
    write_json(check, identity(base=base, instruct=instruct, delta=delta, meta=meta))


def _place(name: str) -> tuple[bool, int, str]:
    """Layers in their order, then what is outside of them."""
    number = name.removeprefix("layer ")
    return (False, int(number), name) if number.isdecimal() else (True, 0, name)


def _row(name: str, part: dict[str, Any]) -> dict[str, Any]:
    row = {column: part.get(column) for column in COLUMNS}
    return {**row, "layer": name, "underflow_share": part["underflow"]["share"]}
