"""Progress of long work, on the terminal, a line every few seconds."""

import os
import sys
import time
from typing import TextIO

CLEAR = "\r\033[K"  # on a terminal: what stands on this line, as that of a run does
_terminal: TextIO | None = None
_label = ""


def attach(fd: int, label: str) -> None:
    """Show progress on this file descriptor, each line headed by a label."""
    global _terminal, _label
    _terminal = os.fdopen(os.dup(fd), "w", buffering=1, errors="replace")
    _label = label


def say(text: str) -> None:
    """Show one line now."""
    put(f"  {_label} | {text}" if _label else f"  {text}")


def put(text: str) -> None:
    """Put text on a line of its own."""
    stream = _terminal or sys.stderr
    print((CLEAR if stream.isatty() else "") + text, file=stream, flush=True)


def lasting(seconds: float) -> str:
    """A length of time, as exact as people read it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """How far a loop is: ``progress.step("loss 1.2")`` after each of `total` steps."""

    def __init__(self, total: int, unit: str, every_s: float = 30.0) -> None:
        self.total, self.unit, self.every_s = total, unit, every_s
        self.done = 0
        self._start = self._shown = time.monotonic()

    def step(self, note: str = "", done: int | None = None) -> None:
        """Count a step and, from time to time and at the end of a long loop, show a line."""
        self.done = self.done + 1 if done is None else done
        now = time.monotonic()
        spent = now - self._start
        over = self.done == self.total and spent >= self.every_s
        if now - self._shown < self.every_s and not over:
            return
        self._shown = now
        left = spent / max(self.done, 1) * (self.total - self.done)
        tail = f" | {note}" if note else ""
        times = f"{lasting(spent)} spent, {lasting(left)} left"
        say(f"{self.unit} {self.done}/{self.total} | {times}{tail}")
