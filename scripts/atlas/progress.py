"""Progress of long work, on the terminal, a line every few seconds."""

import os
import sys
import time
from typing import TextIO

_terminal: TextIO | None = None
_label = ""


def attach(fd: int, label: str) -> None:
    """Show progress on this file descriptor, each line headed by a label."""
    global _terminal, _label
    _terminal = os.fdopen(os.dup(fd), "w", buffering=1, errors="replace")
    _label = label


def say(text: str) -> None:
    """Show one line now."""
    stream = _terminal or sys.stderr
    print(f"  {_label} | {text}" if _label else f"  {text}", file=stream, flush=True)


class Progress:
    """How far a loop is: ``progress.step("loss 1.2")`` after each of `total` steps."""

    def __init__(self, total: int, unit: str, every_s: float = 5.0) -> None:
        self.total, self.unit, self.every_s = total, unit, every_s
        self.done = 0
        self._start = self._shown = time.monotonic()

    def step(self, note: str = "", done: int | None = None) -> None:
        """Count a step and, from time to time, show a line with the time left."""
        self.done = self.done + 1 if done is None else done
        now = time.monotonic()
        if now - self._shown < self.every_s and self.done != self.total:
            return
        self._shown = now
        spent = now - self._start
        left = spent / max(self.done, 1) * (self.total - self.done)
        tail = f" | {note}" if note else ""
        say(f"{self.unit} {self.done}/{self.total} | {spent:.0f} s spent, {left:.0f} s left{tail}")
