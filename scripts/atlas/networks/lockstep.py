"""Computations that take their steps together: each waits at a step until all others have come to it.

So what a step needs is brought once for all of them. Only one of them runs at a time, in their order:
what they compute is what each would compute alone.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch

Result = TypeVar("Result")
_own = threading.local()


class _StoppedError(BaseException):
    """Ends a computation, because another one failed."""


class _Work(Generic[Result]):
    """A computation on a thread of its own, which runs only while :meth:`go_on` waits for it."""

    def __init__(self, compute: Callable[[], Result]) -> None:
        self._compute = compute
        self._turn, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self.place: int | None = None
        self.step: Callable[[], Any] = lambda: None
        self._given: Any = None
        self._failed: BaseException | None = None
        self.error: BaseException | None = None
        self.result: Result
        self._thread = threading.Thread(target=self._run, name="lockstep", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._turn.acquire()
        _own.work = self
        try:
            if self._failed is not None:
                raise self._failed
            self.result = self._compute()
        except BaseException as error:
            self.error = error
        finally:
            self.place = None
            self._waits.release()

    def wait_at(self, place: int, step: Callable[[], Any]) -> Any:
        """On its own thread: what a step gives, which is taken when its turn comes."""
        self.place, self.step = place, step
        self._waits.release()
        self._turn.acquire()
        if self._failed is not None:
            raise self._failed
        given, self._given = self._given, None
        return given

    def go_on(self, given: Any = None, failed: BaseException | None = None) -> None:
        """Let it run on, with what its step gave, until its next step or its end."""
        self.place, self.step = None, lambda: None
        self._given, self._failed = given, failed
        self._turn.release()
        self._waits.acquire()

    def end(self) -> None:
        """Its end, at once where it has not come to it."""
        if self._thread.is_alive():
            while self.place is not None or not self._done():
                self.go_on(failed=_StoppedError())
            self._thread.join()

    def _done(self) -> bool:
        return self.error is not None or hasattr(self, "result")


def step(place: int, compute: Callable[[], Result]) -> Result:
    """Compute a step, together with the same step of others where there are some.

    :param place: of the step on the way; each round takes the places in their order.
    """
    work: _Work[Any] | None = getattr(_own, "work", None)
    if work is None:
        return compute()
    # As on the thread that asks: its modes, and what it collects.
    inference, context = torch.is_inference_mode_enabled(), contextvars.copy_context()

    def alike() -> Result:
        with torch.inference_mode(inference):
            return context.run(compute)

    found: Result = work.wait_at(place, alike)
    return found


def together(computations: Sequence[Callable[[], Result]]) -> list[Result]:
    """What computations give that take their steps together; the steps run on the caller's thread.

    :raises BaseException: the first that one of them raises; the others are ended.
    """
    works = [_Work(compute) for compute in computations]
    try:
        for work in works:
            _go_on(work)
        at = -1
        while places := sorted({work.place for work in works if work.place is not None}):
            at = next((place for place in places if place > at), places[0])
            for work in works:
                if work.place == at:
                    _take(work)
        return [work.result for work in works]
    finally:
        for work in works:
            work.end()


def _take(work: _Work[Any]) -> None:
    try:
        given = work.step()
    except Exception as error:
        _go_on(work, failed=error)
    else:
        _go_on(work, given)


def _go_on(work: _Work[Any], given: Any = None, failed: BaseException | None = None) -> None:
    work.go_on(given, failed)
    if work.error is not None:
        raise work.error
