from __future__ import annotations

import threading

import pytest
import torch

from atlas.networks.lockstep import step, together


def test_steps_are_taken_together_and_by_the_caller():
    taken = []

    def work(name, places):
        def compute():
            found = []
            for place in places:
                one = step(place, lambda place=place: taken.append((place, name)) or place * 10)
                found.append((one, torch.is_inference_mode_enabled()))
            return name, found

        return compute

    @torch.inference_mode()
    def inferring():
        return step(0, lambda: (torch.is_inference_mode_enabled(), threading.current_thread()))

    results = together([work("a", [0, 1, 0, 1]), work("b", [0, 1]), work("c", [1, 0, 1])])
    # In each round the places in their order; who comes late, or has ended, delays nobody.
    assert taken == [(0, "a"), (0, "b"), (1, "a"), (1, "b"), (1, "c"), (0, "a"), (0, "c"), (1, "a"),
                     (1, "c")]  # fmt: skip
    assert results[1] == ("b", [(0, False), (10, False)])
    assert together([inferring]) == [(True, threading.current_thread())]
    assert step(3, lambda: "alone") == "alone"
    assert together([]) == []


@pytest.mark.parametrize("at", ["start", "step", "after"])
def test_the_first_failure_ends_all(at):
    ended = []

    def fails():
        if at == "start":
            raise ValueError("broken")
        step(0, lambda: 1 / 0 if at == "step" else None)
        raise ValueError("broken")

    def waits():
        try:
            step(0, lambda: None)
            step(1, lambda: None)
            step(2, lambda: pytest.fail("must not be taken"))
        finally:
            ended.append(threading.current_thread())

    with pytest.raises(ZeroDivisionError if at == "step" else ValueError):
        together([waits, fails, waits])
    assert len(ended) == (1 if at == "start" else 2)
    assert not any(thread.name == "lockstep" for thread in threading.enumerate())
