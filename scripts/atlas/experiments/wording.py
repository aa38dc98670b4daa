"""Words around figures: how findings are said, the same way everywhere.

Each kind of table has a module ``findings`` with a function ``findings(table, beside)``, whose
sentences the summary tells: of the rows of the table, and of further files that its entry names.
"""

from collections.abc import Mapping, Sequence

from atlas.spaces.names import space_title

Row = Mapping[str, str]
Rows = Sequence[Row]
Beside = Mapping[str, Rows]  # what the entry of a table calls a further file -> its rows
SURE = 0.05  # a p-value from here on: chance alone does as well too often


def number(value: float, digits: int = 2) -> str:
    """A figure, with a typographic minus and without a minus before zero."""
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) else text


def enough(digits: int, *values: float | None) -> int:
    """How many digits show that no value other than 0 is 0, and that none equals another: six at most."""
    known = {value for value in values if value is not None}
    for count in range(digits, 6):
        shown = [float(number(value, count).replace("−", "-")) for value in known]
        if len(set(shown)) == len(known) and all(shown) == all(known):
            return count
    return 6 if known else digits


def percent(share: float) -> str:
    """A share as per cent."""
    return f"{number(100 * share, 0)} %"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: 1 model, 2 models."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def space_name(space: str) -> str:
    """An embedding space as it stands in a sentence."""
    return space_title(space).lower()


def listed(items: Sequence[str]) -> str:
    """a, b and c."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def interval(low: float, high: float, digits: int = 2) -> str:
    """A 95 % interval, and whether 0 is in it."""
    zero = "which includes 0" if low <= 0 <= high else "which excludes 0"
    digits = enough(digits, low, high)
    return f"95 % interval {number(low, digits)} to {number(high, digits)}, {zero}"


def overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two intervals share a value."""
    return max(one[0], other[0]) <= min(one[1], other[1])


def moved(before: float, after: float, digits: int = 2) -> str:
    """What became of a figure: falls, rises, or stays as far as it is shown."""
    old, new = number(before, digits), number(after, digits)
    if old == new:
        return f"stays at {new}"
    return f"{'falls' if after < before else 'rises'} from {old} to {new}"


def against(value: float, published: float | None, digits: int = 2) -> str:
    """A published figure beside ours: ``; published: 0.61``, or nothing."""
    if published is None:
        return ""
    ours, theirs = number(value, digits), number(published, digits)
    how = "as here" if ours == theirs else "lower" if published < value else "higher"
    return f"; published: {theirs}, {how}"


def optional(text: str | None) -> float | None:
    """A cell of a table as a number, if it has one."""
    return float(text) if text else None
