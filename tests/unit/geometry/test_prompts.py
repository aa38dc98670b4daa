from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.files import read_csv, write_csv
from atlas.geometry.layer_paths import menger_curvature, signature_distances
from atlas.geometry.prompts import COLUMNS, comparison_prompts, measure_prompts, sample_cka
from atlas.geometry.stream_files import hook_names, write_streams
from atlas.geometry.stream_quality import COLUMNS as QUALITY
from atlas.geometry.stream_quality import check_streams

seeds = st.integers(0, 10_000)


def random(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


@given(seeds, st.floats(0.01, 100))
def test_turns_and_scales_move_no_prompt(seed, scale):
    one = random(seed, (8, 5))
    turn = np.linalg.qr(random(seed, (5, 5)))[0]
    assert sample_cka(one, scale * one @ turn + 3) == pytest.approx(np.ones(8))


@given(seeds, st.integers(0, 19))
def test_the_prompt_that_moved_is_the_lowest(seed, moved):
    one = random(seed, (20, 40))
    other = one.copy()
    other[moved] = random(seed + 1, 40)
    found = sample_cka(one, other)
    assert found.argmin() == moved


def test_by_hand():
    """Four prompts on the axes of a plane; one of them goes to the other side."""
    one = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    other = np.array([[1.0, 0], [-1, 0], [0, -1], [0, 1]])
    assert sample_cka(one, other) == pytest.approx([1, 1, 1, 1])
    # The second pair goes onto the first: rows (., -1, 0, 0) and (., -1, 1, -1) of the Gram matrices.
    other = np.array([[1.0, 0], [-1, 0], [1, 0], [-1, 0]])
    assert sample_cka(one, other) == pytest.approx([1 / np.sqrt(3)] * 4)
    # Where that pair goes into a direction of its own at twice the length, no row turns.
    assert sample_cka(one, one * [1, 2]) == pytest.approx([1, 1, 1, 1])
    assert np.isnan(sample_cka(one, np.zeros((4, 2)))).all()


def stored(path, seed, positions="last_token", count=6, layers=4, width=9):
    lengths = [1 + i % 3 for i in range(count)]
    rows = sum(lengths) if positions == "all" else count
    arrays = {hook: random([seed, i], (rows, width)) for i, hook in enumerate(hook_names(layers))}
    path.parent.mkdir(exist_ok=True)
    write_streams(path, [f"p{i}" for i in range(count)], lengths, positions, arrays.items())
    last = np.cumsum(lengths) - 1 if positions == "all" else np.arange(count)
    return np.stack([a[last] for hook, a in arrays.items() if "post" in hook], axis=1), lengths


@pytest.mark.parametrize("positions", ["last_token", "all"])
def test_rows(tmp_path, positions):
    """By the paths themselves, in the principal directions of the base as numpy finds them."""
    base, lengths = stored(tmp_path / "base.h5", 1, positions)
    model, _ = stored(tmp_path / "sft.h5", 2, positions)
    stored(tmp_path / "rl.h5", 1, positions)
    models = {name: tmp_path / f"{name}.h5" for name in ("sft", "rl")}
    rows = list(measure_prompts(tmp_path / "base.h5", models, 3))
    assert all(tuple(row) == COLUMNS for row in rows)
    assert [row["model"] for row in rows] == ["base"] * 6 + ["sft"] * 6 + ["rl"] * 6
    flat = base.reshape(-1, 9)
    right = np.linalg.svd(flat - flat.mean(axis=0))[2][:3].T
    distances = signature_distances(base @ right, model @ right)
    for row in rows:
        i = row["prompt"]
        assert (row["tokens"], row["signature_dimensions"]) == (lengths[i], 3)
        path = (model if row["model"] == "sft" else base)[i : i + 1]
        assert row["menger_curvature"] == pytest.approx(menger_curvature(path)[0], rel=1e-5)
        if row["model"] == "base":
            assert row["sample_cka"] is row["signature_distance"] is None
        elif row["model"] == "rl":
            assert row["sample_cka"] == pytest.approx(1)
            assert row["signature_distance"] == pytest.approx(0, abs=1e-9)
        else:
            near = np.mean([sample_cka(base[:, k], model[:, k])[i] for k in range(4)])
            assert row["sample_cka"] == pytest.approx(near, rel=1e-5)
            assert row["signature_distance"] == pytest.approx(distances[i], rel=1e-4)


def test_the_file(tmp_path):
    """Task by task; a base that varies in few directions has signatures in few."""
    entries = [[model, task] for task in ("a", "b") for model in ("base", "m")]
    files = [tmp_path / f"{model}-{task}.h5" for model, task in entries]
    for i, file in enumerate(files):
        stored(file, i, layers=2, count=3)
    quality = tmp_path / "quality.csv"
    write_csv(quality, QUALITY, [row for file in files for row in check_streams(file, 2, 0.0)])
    common = {"activations": files, "entries": entries, "prompts": tmp_path / "prompts.csv"}
    comparison_prompts(quality=quality, dimensions=32, **common)
    found = read_csv(tmp_path / "prompts.csv")
    assert [(r["task"], r["model"], r["prompt"]) for r in found] == [
        (task, model, str(i)) for task in "ab" for model in ("base", "m") for i in range(3)
    ]
    assert {r["signature_dimensions"] for r in found} == {"5"}  # six points, centred
    assert all(float(r["signature_distance"]) > 0 for r in found if r["model"] == "m")
    # Two layers make no circle.
    assert {r["menger_curvature"] for r in found} == {""}
    stored(files[1], 5, layers=2, count=4)
    with pytest.raises(AtlasError, match=r"m-a\.h5: its rows are not those of .*base-a\.h5"):
        comparison_prompts(quality=quality, dimensions=2, **common)
    write_csv(quality, QUALITY, check_streams(files[0], 2, 1e6, 1e7))
    with pytest.raises(AtlasError, match="the check mean_norm failed"):
        comparison_prompts(quality=quality, dimensions=2, **common)
