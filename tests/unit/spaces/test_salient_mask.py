from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from sklearn.metrics.pairwise import cosine_similarity
from transformers import AutoModelForCausalLM

from atlas.errors import AtlasError
from atlas.spaces.embeddings import read_embeddings
from atlas.spaces.salient_mask import Largest, embed, mask_similarity, packed_mask
from unit.conftest import described, load, make_base, make_lora

numbers = st.lists(st.integers(0, 12).map(float), max_size=30)


def largest(parts, count):
    """Places of the largest, as one long mask."""
    found = Largest(count)
    for i, part in enumerate(parts):
        found.add(str(i), part)
    masks = found.masks()
    return [
        bool(bit)
        for i, part in enumerate(parts)
        for bit in np.unpackbits(masks.get(str(i), np.zeros(len(part) // 8 + 1, np.uint8)))[
            : len(part)
        ]
    ]


def sorted_plainly(parts, count):
    values = [float(x) for part in parts for x in part]
    ordered = sorted(values, reverse=True)
    limit = ordered[count - 1] if len(ordered) >= count else 0.0
    return [x >= limit and x > 0 for x in values]


@given(parts=st.lists(numbers, max_size=6), count=st.integers(1, 20))
def test_the_largest_are_those_of_a_sort(parts, count):
    parts = [torch.tensor(part) for part in parts]
    assert largest(parts, count) == sorted_plainly(parts, count)


@given(st.integers(0, 10_000), st.integers(1, 50), st.booleans())
def test_the_largest_of_a_long_stream(seed, count, coarse):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(2000, generator=generator).abs()
    values = (values * 4).round() if coarse else values
    parts = values.split(70)
    assert largest(parts, count) == sorted_plainly(parts, count)


@given(st.lists(st.lists(st.booleans(), min_size=19, max_size=19), min_size=2, max_size=5))
def test_similarity_of_masks(rows):
    rows = [[*row, True] for row in rows]
    masks = [
        {"a": np.packbits(row[:7]), **({"b": np.packbits(row[7:])} if any(row[7:]) else {})}
        for row in rows
    ]
    np.testing.assert_allclose(
        mask_similarity(masks), cosine_similarity(np.array(rows, dtype=float)), atol=1e-12
    )


def test_ties_are_in_and_zeros_are_not():
    parts = [("a", torch.tensor([3.0, 2, 2, 0])), ("b", torch.tensor([2.0, 1]))]
    mask = packed_mask(parts, 2, "m")
    assert [np.unpackbits(mask[n])[:4].tolist() for n in "ab"] == [[1, 1, 1, 0], [1, 0, 0, 0]]
    few = packed_mask([("a", torch.tensor([1.0, 0, 0]))], 3, "m")
    assert np.unpackbits(few["a"])[:3].tolist() == [1, 0, 0]
    with pytest.raises(AtlasError, match="m: does not differ from its base"):
        packed_mask([("a", torch.zeros(3))], 2, "m")


def plainly(base_folder, folder, share):
    """Whole |dW| in one vector, np.partition, ones at or above the threshold."""
    before = load(base_folder).state_dict()
    if (folder / "adapter_config.json").exists():
        after = PeftModel.from_pretrained(load(base_folder), folder).merge_and_unload().state_dict()
    else:
        after = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()
    delta = np.concatenate([(after[n] - before[n]).abs().numpy().ravel() for n in sorted(before)])
    count = int(len(delta) * share)
    limit = np.partition(delta, -count)[-count]
    return (delta >= limit) & (delta > 0)


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_the_plain_way(tmp_path, tiny_base, base_folder, mixed_pool, share):
    embed(
        bases=tiny_base, weights=[f for files in mixed_pool.values() for f in files],
        models=described(mixed_pool), share=share, embeddings=tmp_path / "e.npz",
    )  # fmt: skip
    found = read_embeddings(tmp_path / "e.npz")
    masks = np.array([
        plainly(base_folder, files[0].parent, share) for files in mixed_pool.values()
    ])  # fmt: skip
    expected = cosine_similarity(masks.astype(float))
    # Merging rounds, so that single weights at the threshold may differ.
    np.testing.assert_allclose(found.similarity, expected, atol=3 / masks.sum(axis=1).min())
    assert found.dimension == masks.shape[1]
    assert expected[0, 1] < 0.9


def test_exactly_the_plain_way_for_full_models(tmp_path, tiny_base, base_folder, mixed_pool):
    from unit.conftest import make_full

    pool = {"full": mixed_pool["full"], "other": make_full(base_folder, tmp_path / "other", 5)}
    embed(bases=tiny_base, weights=[f for files in pool.values() for f in files],
          models=described(pool), share=0.3, embeddings=tmp_path / "e.npz")  # fmt: skip
    masks = [plainly(base_folder, files[0].parent, 0.3) for files in pool.values()]
    expected = np.sum(masks[0] & masks[1]) / np.sqrt(float(masks[0].sum() * masks[1].sum()))
    assert read_embeddings(tmp_path / "e.npz").similarity[0, 1] == pytest.approx(
        expected, abs=1e-15
    )


def test_bases_of_other_shapes(tmp_path, tiny_base, mixed_pool):
    source = {"random": {"architecture": "llama", "seed": 9, "config": {
        "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 2}}}  # fmt: skip
    other = make_base(tmp_path / "other", source)
    files = make_lora(tmp_path / "other", tmp_path / "x", 2, ["q_proj"], 1)
    embed(bases=[*tiny_base, *other], weights=[*files, *mixed_pool["ia3"]],
          models=described(["ia3"]) + described(["x"], "other"), share=0.1,
          embeddings=tmp_path / "e.npz")  # fmt: skip
    found = read_embeddings(tmp_path / "e.npz")
    assert found.similarity is None
    assert "other and tiny have weights of different shapes" in found.reason
