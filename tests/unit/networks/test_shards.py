"""Models of a shard: the next is read while one computes."""

from __future__ import annotations

import threading

import pytest
import torch

from atlas.networks.shards import _together, loaded_bases, read_ahead
from atlas.weights.adapters import load_adapter
from atlas.weights.side_by_side import bytes_together
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
        for group in base.groups(3):
            groups.append(group.names)
            together = base.network(ROWS.repeat(len(group.names), 1)).logits.split(len(ROWS))
            for i, (name, logits) in enumerate(zip(group.names, together, strict=True)):
                torch.testing.assert_close(logits, alone[name], rtol=1e-5, atol=1e-5)
                if group.together:
                    with group.alone(i):  # as if it were alone, to the last bit
                        assert torch.equal(base.network(ROWS).logits, alone[name])
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in base.network.modules())
    assert groups == [["full"], ["ia3", "lora4"], ["lora8", "m0"], ["m1", "m2", "m3"]]
    assert not torch.allclose(alone["m0"], alone["m1"], atol=1e-2)


def test_a_group_has_room(base_folder, tmp_path, lora_pool):
    adapters = {name: load_adapter(files) for name, files in lora_pool.items()}
    for name, more in {"m4": {"r": 8}, "m5": {"r": 2, "targets": ["q_proj"]}}.items():
        settings = {"r": 4, "targets": ["q_proj", "down_proj"], "seed": 1, **more}
        adapters[name] = load_adapter(make_lora(base_folder, tmp_path / name, **settings))
    # Rank 4 of q_proj (16 to 16) and down_proj (24 to 16) in two layers, float32.
    size = 2 * 4 * ((16 + 16) + (24 + 16)) * 4
    assert bytes_together([adapters["m0"]]) == size + size
    assert bytes_together([adapters["m0"], adapters["m4"]]) == 2 * 2 * size + 3 * size
    rank_2_of_q = 2 * 2 * (16 + 16) * 4
    assert bytes_together([adapters["m4"], adapters["m5"]]) == 2 * 2 * size + 2 * size + rank_2_of_q

    def grouped(room, at_most=9):
        return [[name for name, _ in group] for group in _together(adapters.items(), at_most, room)]

    assert grouped(19 * size) == [list(adapters)]
    assert grouped(19 * size, 4) == [["m0", "m1", "m2", "m3"], ["m4", "m5"]]
    # One of twice the rank makes all twice as large.
    assert grouped(15 * size) == [["m0", "m1", "m2", "m3"], ["m4", "m5"]]
    assert grouped(4 * size) == [["m0", "m1"], ["m2", "m3"], ["m4"], ["m5"]]
    assert grouped(0) == [[name] for name in adapters]


def test_others_do_not_part_a_group(lora_pool):
    adapters = [(name, load_adapter(files)) for name, files in lora_pool.items()]
    models = [*adapters[:2], ("full", object()), *adapters[2:]]
    groups = [[name for name, _ in group] for group in _together(models, 3, 10**9)]
    assert groups == [["full"], ["m0", "m1", "m2"], ["m3"]]
