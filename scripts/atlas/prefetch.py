"""Items in their order, the next of which are worked on while the caller has one."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetched(
    work: Callable[[Item], Made], items: Iterable[Item], *, threads: int, at_most: int
) -> Generator[tuple[Item, Future[Made]], None, None]:
    """Each item with what is made of it; closing the generator gives up what has not begun.

    :param threads: that work at once.
    :param at_most: items that are made or being made at a time, the caller's own among them.
    """
    queue = iter(items)
    with ThreadPoolExecutor(threads, "ahead") as pool:

        def begin(item: Item) -> tuple[Item, Future[Made]]:
            return item, pool.submit(work, item)

        try:
            waiting = deque(map(begin, islice(queue, at_most)))
            while waiting:
                yield waiting.popleft()
                waiting += map(begin, islice(queue, 1))
        finally:
            pool.shutdown(cancel_futures=True)
