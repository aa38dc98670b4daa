"""Models of a shard: the next is read while one computes."""

import threading

import pytest

from atlas.networks.shards import read_ahead


def test_one_is_read_ahead_on_a_thread_and_no_more():
    started = {name: threading.Event() for name in "abcd"}
    threads = set()

    def read(name):
        threads.add(threading.current_thread())
        started[name].set()
        return name.upper()

    seen = []
    for name in read_ahead(read, "abcd"):
        seen.append(name)
        following = "abcd"[len(seen) : len(seen) + 1]
        assert not following or started[following].wait(10)
        assert not any(started[late].is_set() for late in "abcd"[len(seen) + 1 :])
    assert seen == ["A", "B", "C", "D"]
    assert threading.current_thread() not in threads


def test_what_goes_wrong_is_said_at_its_turn():
    def read(name):
        if name == "bad":
            raise ValueError("bad is broken")
        return name

    found = read_ahead(read, ["one", "bad", "two"])
    assert next(found) == "one"
    with pytest.raises(ValueError, match="bad is broken"):
        next(found)


def test_nothing_and_a_caller_who_leaves_early():
    assert list(read_ahead(str, [])) == []
    found = read_ahead(str, ["a", "b", "c"])
    assert next(found) == "a"
    found.close()
    assert not any(thread.name.startswith("read-ahead") for thread in threading.enumerate())
