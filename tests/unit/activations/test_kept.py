"""Models that an earlier execution has done: nothing of them is read, and no byte differs."""

from __future__ import annotations

import pytest

from atlas.kept import Kept
from unit.activations.feature_world import compute, make_world
from unit.activations.test_fetched_shards import run
from unit.activations.test_generation import generate
from unit.activations.test_last_tokens import shard


def without_weights(pool, names):
    """The pool, in which some models are files that are not there."""
    return {n: [f.with_name("gone-" + f.name) if n in names else f for f in files]
            for n, files in pool.items()}  # fmt: skip


@pytest.mark.parametrize("kept", [("m0",), ("m0", "m1", "m2"), "all"])
def test_activations(tmp_path, probes, tiny_base, lora_pool, kept):
    names = sorted(lora_pool) if kept == "all" else kept
    assert set(names) <= set(lora_pool)
    whole = shard(tmp_path / "whole.h5", probes, tiny_base, lora_pool)
    old = shard(tmp_path / "old.h5", probes, tiny_base, {n: lora_pool[n] for n in names})
    again = shard(
        tmp_path / "again.h5", probes, tiny_base, without_weights(lora_pool, names),
        kept=Kept(dict.fromkeys(names, "tiny"), {"activations": old}),
    )  # fmt: skip
    assert again.read_bytes() == whole.read_bytes()


def test_texts(tmp_path, probes, tiny_base, lora_pool, mixed_pool):
    pool = {**mixed_pool, **lora_pool}
    names = sorted(pool)[::2]
    whole = generate(tmp_path / "whole.jsonl", probes, tiny_base, pool)
    old = generate(tmp_path / "old.jsonl", probes, tiny_base, pool, names)
    again = generate(
        tmp_path / "again.jsonl", probes, tiny_base, without_weights(pool, names),
        kept=Kept(dict.fromkeys(names, "tiny"), {"sentences": old}),
    )  # fmt: skip
    assert again.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("kept", [["g"], None])
def test_features(tmp_path, tiny_base, mixed_pool, kept):
    world = make_world(tmp_path, tiny_base, mixed_pool)
    names = kept or sorted(world.pool)[1:]
    bases = {m["name"]: m["base"] for m in world.models if m["name"] in names}
    compute(
        world, tmp_path / "again.h5", pool=without_weights(world.pool, names),
        kept=Kept(bases, {"features": world.file}),
    )  # fmt: skip
    assert (tmp_path / "again.h5").read_bytes() == world.file.read_bytes()


def test_fetched_adapters_are_not_fetched_again(tmp_path, probes, tiny_base, lora_pool):
    sources = {name: files[0].parent for name, files in lora_pool.items()}
    sources["lost"] = tmp_path / "nothing"
    rows, gone, whole = run(tmp_path / "one", probes, tiny_base, sources)
    assert rows["lost"]["reason"]
    # What could not be used is tried again, what could is not.
    found = {"activations": whole, "report": tmp_path / "one" / "r.csv"}
    kept = Kept(dict.fromkeys(sources, "tiny"), found, dict(gone))
    moved = dict.fromkeys(sources, tmp_path / "moved") | {"lost": sources["m0"]}
    rows, again, activations = run(tmp_path / "two", probes, tiny_base, moved, kept)
    assert {name: row["reason"] for name, row in rows.items()} == dict.fromkeys(sources, "")
    assert {path for path in again if "/lost/" not in path} == set(gone)
    whole = run(tmp_path / "three", probes, tiny_base, {**sources, "lost": sources["m0"]})[2]
    assert activations.read_bytes() == whole.read_bytes()
