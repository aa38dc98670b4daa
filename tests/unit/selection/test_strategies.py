from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.selection.strategies import choose

RANKED = [f"m{(7 * i) % 30:02d}" for i in range(30)]
SEEDS = st.integers(0, 1000)


@given(st.sampled_from(["random", "similar", "similar+random"]), st.integers(1, 30), SEEDS)
def test_so_many_different_models_the_same_each_time(strategy, size, seed):
    found = choose(strategy, RANKED, size, seed)
    assert len(found) == len(set(found)) == size
    assert set(found) <= set(RANKED)
    assert found == choose(strategy, RANKED, size, seed)


@given(SEEDS, st.integers(1, 29))
def test_similar_takes_the_first_and_a_seed_their_order(seed, size):
    assert sorted(choose("similar", RANKED, size, seed)) == sorted(RANKED[:size])


@given(SEEDS, st.integers(1, 30))
def test_similar_and_random_has_the_nearest(seed, size):
    assert RANKED[0] in choose("similar+random", RANKED, size, seed)


def test_random_does_not_look_at_the_ranking():
    assert choose("random", RANKED, 5, 3) == choose("random", RANKED[::-1], 5, 3)


def test_every_model_is_drawn_as_often():
    drawn = [m for seed in range(600) for m in choose("similar+random", RANKED, 4, seed)]
    counts = {m: drawn.count(m) for m in RANKED}
    assert counts[RANKED[0]] == 600
    assert all(30 < counts[m] < 100 for m in RANKED[1:])  # 62 expected


def test_too_few_models():
    with pytest.raises(AtlasError, match="4 models cannot be chosen out of 3"):
        choose("random", ["a", "b", "c"], 4, 1)
