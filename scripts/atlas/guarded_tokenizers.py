"""The one place where a stranger's tokenizer reads texts: of sizes that are used, for so long, and no longer.

A pattern of its own is tried at each place of a text. The library gives a pattern up after some tenths
of a second at one place, which for a long text are hours.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from atlas.errors import AtlasError
from atlas.files import read_object
from atlas.limits import awaited, without_panics

if TYPE_CHECKING:
    from tokenizers import Encoding

Found = TypeVar("Found")
SECONDS = 20.0  # of the processor, for one text
MOST_TOKENS, MOST_ADDED, MOST_ID = 1 << 21, 1 << 17, 1 << 24
MOST_PARTS = 1_000  # steps of a tokenizer, and tokens that it puts around a text
MOST_GROWN = 10_000  # times that its steps may lengthen a text
STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


def check_tokenizer(file: Path) -> None:
    """Refuse a tokenizer.json of sizes that nobody uses, or whose steps make any text endless.

    :raises AtlasError: naming what is too large.
    """
    settings, where = read_object(file), f"{file.parent.name}/{file.name}"
    model = settings.get("model")
    vocabulary = model.get("vocab", ()) if isinstance(model, dict) else None
    added = settings.get("added_tokens") or []
    if not (isinstance(vocabulary, dict | list | tuple) and isinstance(added, list)):
        raise AtlasError(f"{where}: is no tokenizer that the library tokenizers writes.")
    numbers = list(vocabulary.values()) if isinstance(vocabulary, dict) else [0]
    numbers += [token.get("id") if isinstance(token, dict) else None for token in added]
    parts = [part for step in STEPS for part in _inside(settings.get(step))]
    grown = math.prod(map(_growth, parts[:MOST_PARTS]))
    for what, size, most in (
        ("tokens", len(vocabulary), MOST_TOKENS),
        ("tokens that were added", len(added), MOST_ADDED),
        ("steps", len(parts), MOST_PARTS),
        ("tokens around each text", sum(len(p["ids"]) for p in parts if _is_list(p.get("ids"))), MOST_PARTS),
        ("times the length of a text in what its steps make of it", grown, MOST_GROWN),
    ):  # fmt: skip
        if size > most:
            shown = f"{min(size, 10**12):,}"
            raise AtlasError(
                f"{where}: its tokenizer has {shown} {what}, and none has over {most:,}."
            )
    for part in parts:
        if (table := part.get("precompiled_charsmap")) is not None and not _is_whole(table):
            raise AtlasError(f"{where}: its precompiled_charsmap is not whole.")
    for number in numbers:
        if type(number) is not int or not 0 <= number < MOST_ID:
            raise AtlasError(f"{where}: {str(number)[:40]!r} is the number of no token.")


def _is_whole(table: Any) -> bool:
    """Whether a table of SentencePiece is as long as its first four bytes say: the library trusts them."""
    try:
        data = base64.b64decode(table, validate=True)
    except (TypeError, ValueError):
        return False
    return len(data) >= 4 and int.from_bytes(data[:4], "little") <= len(data) - 4


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _inside(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a step of a tokenizer, itself among them."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left += value.values()
        elif isinstance(value, list):
            left += value


def _growth(part: dict[str, Any]) -> int:
    """How many times as long a step makes a text, at most."""
    new = max(
        (len(v) for k in ("content", "prepend") if isinstance(v := part.get(k), str)), default=0
    )
    pattern = part.get("pattern")
    old = len(pattern.get("String") or "") if isinstance(pattern, dict) else 0
    # A pattern may match between any two characters.
    return max(
        1, -(-new // old) if old else new + (isinstance(pattern, dict) and "Regex" in pattern)
    )


class GuardedTokenizer:
    """A tokenizer.json, which reads one text after another.

    :raises AtlasError: where it is none.
    """

    def __init__(self, file: Path) -> None:
        from tokenizers import Tokenizer

        self._where = str(file)
        self.backend = self._told("is no tokenizer", lambda: Tokenizer.from_file(str(file)))
        self.backend.no_truncation()
        self.backend.no_padding()
        steps = (getattr(self.backend, step) for step in STEPS)
        self._patterned = any(step and b"Regex" in step.__getstate__() for step in steps)

    def encode(self, text: str, *, special: bool) -> Encoding:
        """A text as tokens."""
        one, batch = self.backend.encode, self.backend.encode_batch
        if not self._patterned:
            return self.bounded(lambda: one(text, add_special_tokens=special))
        return self.bounded(lambda: batch([text], add_special_tokens=special)[0])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens, without special ones."""
        batch = self.backend.decode_batch
        return str(self.bounded(lambda: batch([list(ids)], skip_special_tokens=True)[0]))

    def bounded(self, work: Callable[[], Found]) -> Found:
        """What is read with this tokenizer, in calls of a batch: they let Python go on meanwhile.

        :raises AtlasError: where it cannot be done, or not in :data:`SECONDS`.
        """
        run = (lambda: awaited(work, SECONDS)) if self._patterned else work
        return self._told("cannot read a text", run)

    def _told(self, what: str, work: Callable[[], Found]) -> Found:
        try:
            with without_panics():
                return work()
        except MemoryError:
            raise
        except Exception as error:  # whatever the library raises for somebody's file
            raise AtlasError(
                f"{self._where}: {what} ({str(error)[:200].rstrip('.')}); take a tokenizer that "
                "transformers wrote for a model of its own."
            ) from None
