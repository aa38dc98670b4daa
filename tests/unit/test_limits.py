from __future__ import annotations

import re
import signal
import threading
import time

import pytest

from atlas.limits import LimitError, bounded


def forever():
    while True:
        pass


@pytest.mark.parametrize(
    "work",
    [lambda: re.fullmatch("(a+)+$", "a" * 40 + "b"), lambda: 3 ** (2**30), forever],
    ids=["a pattern", "a number", "a loop"],
)  # fmt: skip
def test_what_never_ends_is_ended(work):
    start = time.thread_time()
    with pytest.raises(LimitError, match=r"more than 0\.2 seconds"), bounded(0.2):
        work()
    assert time.thread_time() - start < 2


@pytest.mark.parametrize("work", [lambda: "x" * 10**10, lambda: 2 ** (2**36), lambda: [0] * 10**10],
                         ids=range(3))  # fmt: skip
def test_what_would_fill_the_memory_is_ended(work):
    with pytest.raises(LimitError, match=r"more than 0\.1 GiB"), bounded(20, 0.1):
        work()
    assert len("x" * 2**30) == 2**30  # the limit is that of the context only


def test_the_shorter_of_two_limits_holds_whichever_is_outside():
    for outer, inner in ((0.2, 20), (20, 0.2)):
        with pytest.raises(LimitError, match=r"0\.2"), bounded(outer), bounded(inner):
            forever()


def test_afterwards_everything_is_as_it_was():
    before = signal.getsignal(signal.SIGPROF)
    with bounded(5, 1):
        pass
    assert signal.getsignal(signal.SIGPROF) == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)


def test_on_another_thread_nothing_is_ended():
    done = []

    def work():
        with bounded(0):
            done.append(sum(range(10**6)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done
