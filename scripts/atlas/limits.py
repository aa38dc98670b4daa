"""Bounds of time and memory around what a stranger's pattern, template or file makes us compute."""

import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

INTERVAL = 0.05  # seconds between two looks at the clock
PAGE = resource.getpagesize()
Found = TypeVar("Found")


class LimitError(Exception):
    """What was bounded took more than it may."""


@contextlib.contextmanager
def bounded(seconds: float, gigabytes: float | None = None) -> Iterator[None]:
    """Within this context, this thread may compute so long, and the process may grow so much.

    Time is that of the processor, so that a slow machine refuses nothing that a fast one takes. On a
    thread other than the main one Python has no way to end a computation: there it is not bounded.

    :param gigabytes: of address space, beyond what the process has.
    :raises LimitError: for more time or memory.
    """
    with _time_bounded(seconds), _memory_bounded(gigabytes):
        yield


@contextlib.contextmanager
def _time_bounded(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    end = time.thread_time() + seconds

    def look(number: int, frame: FrameType | None) -> None:
        if time.thread_time() > end:
            raise LimitError(f"it computes for more than {seconds:g} seconds")
        if callable(before):  # a context around this one has less time left
            before(number, frame)

    before = signal.signal(signal.SIGPROF, look)
    timer = signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, *timer)
        signal.signal(signal.SIGPROF, before)


def _address_space() -> int:
    """Bytes of address space that this process has."""
    descriptor = os.open("/proc/self/statm", os.O_RDONLY)
    try:
        return int(os.read(descriptor, 64).split()[0]) * PAGE
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _memory_bounded(gigabytes: float | None) -> Iterator[None]:
    if gigabytes is None:
        yield
        return
    before = soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _address_space() + int(gigabytes * 2**30)
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    except MemoryError:
        raise LimitError(f"it needs more than {gigabytes:g} GiB of memory") from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def awaited(work: Callable[[], Found], seconds: float) -> Found:
    """What a library computes in code of its own, which no signal interrupts.

    It has to let Python go on meanwhile. What takes longer is left behind on its thread, which ends
    with the process. Time is that of all threads.

    :raises LimitError: for more time.
    """
    found: list[Found] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # raised by the caller's thread
            failed.append(error)

    end = time.process_time() + seconds
    thread = threading.Thread(target=run, name="awaited", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(INTERVAL)
        if time.process_time() > end and thread.is_alive():
            raise LimitError(f"it computes for more than {seconds:g} seconds")
    if failed:
        raise failed[0]
    return found[0]


@contextlib.contextmanager
def without_panics() -> Iterator[None]:
    """Within this context, what Rust raises where it gives up is an exception like others.

    Its libraries raise a BaseException, which nobody catches.

    :raises RuntimeError: in its place.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(" ".join(str(error).split())) from None
