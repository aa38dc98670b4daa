"""The one reader of JSON: what a stranger wrote is read in bounded time and memory, or refused."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

MOST_BYTES = 1 << 28  # a tokenizer.json has up to 40 MB
MOST_DEPTH = 100
# Values in it, by what stands between them; a row of a table takes more than so many bytes a value.
MOST_VALUES, BYTES_A_VALUE = 1 << 24, 16
MOST_DIGITS = 300  # a larger number is no float
TOO_DEEP = f"it is nested more than {MOST_DEPTH} deep"
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(data: str | bytes, most: int = MOST_BYTES) -> Any:
    """Parse JSON. Its numbers are finite, its texts can be written as UTF-8.

    :raises ValueError: in words, where it is not JSON, or beyond what anybody writes: nested more
        than :data:`MOST_DEPTH` deep, a number of more than :data:`MOST_DIGITS` digits or beyond
        float64, half a surrogate pair, more than `most` bytes, or values than fit into memory.
    """
    if len(data) > most:
        raise ValueError(f"it is larger than {most >> 20} MiB")
    text = data if isinstance(data, str) else data.decode("utf-8")
    if sum(map(text.count, "[{,")) > max(MOST_VALUES, len(text) // BYTES_A_VALUE):
        raise ValueError("it has more values than anybody writes")
    try:
        found = DECODER.decode(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    _check_depth(text, found)
    if SURROGATE.search(text):
        _check_texts(found)
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _real(digits: str) -> float:
    if len(digits) > MOST_DIGITS or not math.isfinite(found := float(digits)):
        raise ValueError(f"the number {digits[:20]}… has no place in 64 bits")
    return found


def _not_a_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_real, parse_constant=_not_a_number)


def _check_depth(text: str, found: Any) -> None:
    """Refuse what later readers, which call themselves, could not walk through.

    :raises ValueError: where it is nested too deep.
    """
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return
    level: Iterable[Any] = [found]
    for _ in range(MOST_DEPTH):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise ValueError(TOO_DEEP)


def _inside(value: Any) -> list[Any]:
    """Lists and objects directly in one."""
    values = value.values() if isinstance(value, dict) else value
    return [inner for inner in values if isinstance(inner, dict | list)]


def _check_texts(found: Any) -> None:
    """Refuse a text that no file can hold.

    :raises ValueError: for half a surrogate pair.
    """
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text has half a surrogate pair, which is no character") from None
