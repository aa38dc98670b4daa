"""Models of a shard: the next is read while one computes."""

from __future__ import annotations

import threading

import pytest
import torch

from atlas.networks.shards import _together, loaded_bases, read_ahead
from atlas.weights.adapters import load_adapter
from unit.conftest import make_lora

ROWS = torch.tensor([[5, 6, 7], [8, 9, 10]])


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


def loaded(tiny_base, pool):
    (base,) = loaded_bases(
        bases=tiny_base, weights=[file for files in pool.values() for file in files],
        models=[{"name": name, "base": "tiny"} for name in pool], dtypes={"tiny": "float32"},
        base_names={"tiny": ["tiny"]},
    )  # fmt: skip
    return base


def test_each_computes_its_own_rows(tiny_base, mixed_pool, lora_pool):
    base = loaded(tiny_base, {**mixed_pool, **lora_pool})
    with torch.inference_mode():
        alone = {name: base.network(ROWS).logits for name in base.models()}
        groups = []
        for names in base.groups(3):
            groups.append(names)
            together = base.network(ROWS.repeat(len(names), 1)).logits.split(len(ROWS))
            for name, logits in zip(names, together, strict=True):
                torch.testing.assert_close(logits, alone[name], rtol=1e-5, atol=1e-5)
    assert groups == [["full"], ["ia3"], ["lora4"], ["lora8"], ["m0", "m1", "m2"], ["m3"]]
    assert not torch.allclose(alone["m0"], alone["m1"], atol=1e-2)


def test_a_group_is_alike_and_has_room(base_folder, tmp_path, lora_pool):
    adapters = {name: load_adapter(files) for name, files in lora_pool.items()}
    for name, more in {"m4": {"alpha": 8}, "m5": {"r": 2, "alpha": 8}}.items():
        settings = {"r": 4, "targets": ["q_proj", "down_proj"], "seed": 1, **more}
        adapters[name] = load_adapter(make_lora(base_folder, tmp_path / name, **settings))
    size = adapters["m0"].nbytes
    assert size == sum(m.a.nbytes + m.b.nbytes for m in adapters["m0"].modules.values())

    def grouped(room):
        return [[name for name, _ in group] for group in _together(adapters.items(), 9, room)]

    # Those with another scale, or another rank, go alone.
    assert grouped(9 * size) == [["m0", "m1", "m2", "m3"], ["m4"], ["m5"]]
    assert grouped(2 * size) == [["m0", "m1"], ["m2", "m3"], ["m4"], ["m5"]]
    assert grouped(0) == [[name] for name in adapters]
