"""Published figures of experiments, which stand beside ours for orientation."""

from pathlib import Path

from atlas.errors import AtlasError
from atlas.files import read_csv


def published_figures(file: Path, table: str) -> dict[tuple[str, str], float]:
    """(setting, quantity) -> figure, of one table.

    :param file: columns table, setting, quantity, published.
    """
    return {
        (row["setting"], row["quantity"]): float(row["published"])
        for row in read_csv(file)
        if row["table"] == table
    }


def check_settings(figures: dict[tuple[str, str], float], table: str, settings: set[str]) -> None:
    """Refuse a setting of which nothing was published.

    :raises AtlasError: naming those that there are.
    """
    known = {setting for setting, _ in figures}
    unknown = sorted(settings - known)
    if unknown:
        there = ", ".join(sorted(known)) or "none"
        raise AtlasError(
            f"tables.{table}.published: nothing was published of {unknown[0]!r}; settings are: {there}."
        )


def beside(value: float | None, published: float | None) -> str:
    """A figure for people, the published one in brackets."""
    if value is None:
        return "–"
    return f"{value:z.2f}" + ("" if published is None else f" ({published:.2f})")
