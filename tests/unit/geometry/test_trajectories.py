from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.files import read_csv, write_csv, write_jsonl
from atlas.geometry.residual_streams import extract_streams, read_streams
from atlas.geometry.stream_files import StreamFile, hook_names
from atlas.geometry.stream_quality import COLUMNS, check_streams
from atlas.geometry.trajectories import (
    levy_area,
    measure_trajectories,
    network_trajectories,
    path_curvature,
    path_length,
    path_signature,
    signature_basis,
    trajectory_columns,
    trajectory_measures,
)
from atlas.networks.tokens import Tokens
from unit.conftest import load

SQUARE = np.array([[0, 0, 1.0], [1, 0, 1], [1, 1, 1], [0, 1, 1]])
PLANE = np.eye(3)[:, :2]
seeds = st.integers(0, 10_000)


def path(seed, tokens=7, width=5):
    return np.random.default_rng(seed).normal(size=(tokens, width)).cumsum(axis=0)


def rotation(seed, width):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def test_a_square():
    assert path_length(SQUARE) == 3
    assert path_curvature(SQUARE) == pytest.approx(math.pi / 2, abs=1e-15)
    first, second = path_signature(SQUARE, PLANE)
    assert first == pytest.approx([0, 1])
    # The integral of x dy is 1, that of y dx is -1 on the way back.
    assert second == pytest.approx(np.array([[0, 1], [-1, 0.5]]))
    assert levy_area(second) == pytest.approx(math.sqrt(2))


def test_a_line_and_a_reversal():
    line = np.arange(5.0)[:, None] * np.array([[3.0, 4.0, 0.0]])
    assert path_length(line) == 20
    assert path_curvature(line) == 0
    first, second = path_signature(line, PLANE)
    assert first == pytest.approx([12, 16])
    assert second == pytest.approx(np.outer(first, first) / 2)
    assert levy_area(second) == 0
    assert path_curvature(np.array([[0.0], [1.0], [0.0]])) == pytest.approx(math.pi)


def test_short_and_standing_paths():
    assert path_length(np.zeros((1, 3))) == 0
    assert path_curvature(np.zeros((2, 3))) is None
    assert path_curvature(np.array([[0.0, 0], [1, 0], [1, 0], [1, 1]])) == pytest.approx(
        math.pi / 2
    )
    for shape in ((0, 3), (3,)):
        with pytest.raises(AtlasError, match="a trajectory has the shape"):
            path_length(np.zeros(shape))


@given(seeds, seeds)
def test_length_and_curvature_ignore_rotation_and_place(seed, turn):
    one = path(seed)
    other = one @ rotation(turn, 5) + 7
    assert path_length(other) == pytest.approx(path_length(one), rel=1e-12)
    assert path_curvature(other) == pytest.approx(path_curvature(one), rel=1e-9)
    assert path_length(3 * one) == pytest.approx(3 * path_length(one), rel=1e-12)
    assert path_curvature(3 * one) == pytest.approx(path_curvature(one), rel=1e-9)
    assert path_length(one[::-1]) == pytest.approx(path_length(one), rel=1e-12)


@given(seeds, st.integers(0, 5), st.floats(0.1, 0.9))
def test_a_signature_ignores_how_fast_the_path_is_walked(seed, place, share):
    one = path(seed)
    between = one[place] + share * (one[place + 1] - one[place])
    basis = rotation(seed + 1, 5)[:, :3]
    slower = np.insert(one, place + 1, between, axis=0)
    for found, expected in zip(path_signature(slower, basis), path_signature(one + 1, basis),
                               strict=True):  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@given(seeds, st.integers(1, 5))
def test_chens_identity_and_the_shuffle_product(seed, cut):
    one, basis = path(seed), np.eye(5)[:, :3]
    (a1, a2), (b1, b2) = (path_signature(part, basis) for part in (one[: cut + 1], one[cut:]))
    first, second = path_signature(one, basis)
    np.testing.assert_allclose(first, a1 + b1, atol=1e-10)
    np.testing.assert_allclose(second, a2 + b2 + np.outer(a1, b1), atol=1e-9)
    np.testing.assert_allclose(second + second.T, np.outer(first, first), atol=1e-9)


def test_columns():
    found = trajectory_measures(SQUARE.astype(np.float16), PLANE)
    assert list(found) == [
        "tokens", "path_length", "path_curvature", "levy_area", "signature_1", "signature_2",
        "signature_1_1", "signature_1_2", "signature_2_1", "signature_2_2",
    ]  # fmt: skip
    assert (found["tokens"], found["signature_1_2"], found["signature_2_1"]) == (4, 1, -1)


def test_a_path_without_a_signature():
    """Of the embeddings, where all prompts end with the same token."""
    found = trajectory_measures(SQUARE, None)
    assert found == {"tokens": 4, "path_length": 3, "path_curvature": pytest.approx(math.pi / 2),
                     "levy_area": None}  # fmt: skip


def test_the_basis_of_a_signature():
    axes = rotation(1, 6)
    data = np.random.default_rng(2).normal(size=(50, 6)) * [9, 6, 3, 1e-3, 1e-3, 1e-3] @ axes.T + 5
    basis = signature_basis(data, 3)
    assert np.linalg.norm(axes[:, :3].T @ basis) ** 2 == pytest.approx(3, abs=1e-5)
    assert (basis.max(axis=0) == np.abs(basis).max(axis=0)).all()
    np.testing.assert_allclose(signature_basis(data[::-1], 3), basis, atol=1e-10)
    with pytest.raises(AtlasError, match="3 prompts vary in 2 directions; a signature in 3"):
        signature_basis(data[:3], 3)


def test_rows(tiny_base, mixed_pool, tmp_path):
    """Of a model whose base gave the directions, against the streams themselves."""
    texts = ["Two and two?", "Name a colour.", "Say it.", "Explain why, in short.", "And then?"]
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": text} for text in texts])
    common = {"prompts": tmp_path / "prompts.jsonl", "base": tiny_base,
              "base_names": ["tiny"], "dtype": "float32"}  # fmt: skip
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    extract_streams(**common, model=[], most=None, positions="last_token", precision="float32",
                    activations=tmp_path / "a.h5", scratch=scratch)  # fmt: skip
    write_csv(tmp_path / "quality.csv", COLUMNS, check_streams(tmp_path / "a.h5", 2, 0.0))
    measure_trajectories(
        **common, model=mixed_pool["full"], most=3, dimensions=2, quality=tmp_path / "quality.csv",
        activations=tmp_path / "a.h5", trajectories=tmp_path / "t.csv",
    )  # fmt: skip
    found = read_csv(tmp_path / "t.csv")
    assert list(found[0]) == trajectory_columns(2)
    assert len(found) == 3 * 4
    network, tokens = load(mixed_pool["full"][0].parent), Tokens(tiny_base[0].parent)
    with StreamFile(tmp_path / "a.h5") as stored:
        for row in found:
            hook = f"blocks.{row['layer']}.hook_{row['hook']}"
            ids = tokens.prompt(texts[int(row["prompt"])])
            (path,) = read_streams(network, [ids], "all")[hook]
            basis = signature_basis(stored.read(hook), 2)
            for key, value in trajectory_measures(path.numpy(), basis).items():
                assert float(row[key]) == pytest.approx(value, rel=1e-5, abs=1e-6)
    network.base_model.layers = network.base_model.layers[:1]
    with pytest.raises(AtlasError, match="those of another architecture"):
        next(network_trajectories(network, [[1, 2, 3]], dict.fromkeys(hook_names(2), PLANE)))
    write_csv(tmp_path / "quality.csv", COLUMNS, check_streams(tmp_path / "a.h5", 2, 1e6, 1e7))
    with pytest.raises(AtlasError, match="the check mean_norm failed"):
        measure_trajectories(
            **common, model=[], most=3, dimensions=2, quality=tmp_path / "quality.csv",
            activations=tmp_path / "a.h5", trajectories=tmp_path / "t.csv",
        )  # fmt: skip
