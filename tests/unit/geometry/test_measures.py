from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import AtlasError
from atlas.geometry import measures as module
from atlas.geometry.eigenpairs import leading_eigenpairs, nested_eigenpairs
from atlas.geometry.measures import COLUMNS, comparison, decompose, measure_layers
from atlas.geometry.spectra import measures
from atlas.geometry.stream_files import hook_names, write_streams
from atlas.geometry.subspaces import (
    kernel_alignment,
    principal_cosines,
    projection_score,
    subspace_preservation,
)

CENTRINGS = ("uncentred", "centred")
SHAPES = [(12, 40), (40, 12), (20, 20), (2, 5), (21, 20), (30, 200)]
seeds = st.integers(0, 10_000)


def random(seed, shape, decay=0.7, mean=2.0, dtype=np.float16):
    draw = np.random.default_rng(seed)
    scale = np.arange(1, shape[1] + 1) ** -decay
    return (draw.normal(size=shape) * scale + mean * draw.normal(size=shape[1])).astype(dtype)


def rotation(seed, width):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


def near(values, rel=1e-6):
    """The values as pytest compares them, None staying None."""
    return {k: v if v is None else pytest.approx(v, rel=rel, abs=1e-9) for k, v in values.items()}


def plainly(matrix, centring):
    """The measures from scipy's decomposition of the matrix itself."""
    matrix = matrix.astype(np.float64)
    count = min(matrix.shape)
    if centring == "centred":
        matrix = matrix - matrix.mean(axis=0)
        count = min(matrix.shape[0] - 1, matrix.shape[1])
    _, values, right = scipy.linalg.svd(matrix, full_matrices=False)
    return matrix, values[:count], right.T


def compared(one, other, k, centring):
    (a, _, v), (b, _, w) = plainly(one, centring), plainly(other, centring)
    angles = scipy.linalg.subspace_angles(v[:, :k], w[:, :k])
    x = (np.linalg.norm(b.T @ a) ** 2) / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)
    return np.cos(angles).mean(), np.linalg.norm(v[:, :k].T @ w[:, :k]) ** 2 / k, x


@pytest.mark.parametrize("centring", CENTRINGS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_same_as_scipys_decomposition(shape, dtype, centring):
    one, other = random(1, shape, dtype=dtype), random(2, shape, dtype=dtype)
    k = min(5, shape[0] - 1)
    base, model = (getattr(decompose(m, k), centring) for m in (one, other))
    _, values, _ = plainly(other, centring)
    assert model.rank == len(values)
    np.testing.assert_allclose(model.singular_values, values, rtol=1e-9)
    expected = measures(values, len(values))
    found = measures(model.singular_values, model.rank)
    assert found == near(expected, 1e-7)
    # Directions of activations in half precision are in float32.
    close = 1e-5 if dtype == np.float16 else 1e-7
    np.testing.assert_allclose(model.right.T @ model.right, np.eye(k), atol=close)
    found = comparison(base, model)
    assert (base.gram is None) == (shape[0] > shape[1])
    assert found.pop("subspace_dimensions") == k
    assert tuple(found.values()) == pytest.approx(compared(one, other, k, centring), rel=close)


@pytest.mark.parametrize("centring", CENTRINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_badly_conditioned_matrices(shape, centring):
    """A Gram matrix alone would lose what is below 1e-8 of the largest singular value."""
    count = min(shape)
    left, right = (rotation(s, n)[:, :count] for s, n in ((1, shape[0]), (2, shape[1])))
    matrix = left * np.logspace(0, -10, count) @ right.T
    found = getattr(decompose(matrix, 3), centring)
    _, values, _ = plainly(matrix, centring)
    if centring == "uncentred":
        np.testing.assert_allclose(values, np.logspace(0, -10, count), rtol=1e-5)
    np.testing.assert_allclose(found.singular_values, values, rtol=1e-5)
    kept = found.right.shape[1]
    np.testing.assert_allclose(found.right.T @ found.right, np.eye(kept), atol=1e-12)


def test_a_huge_mean_hides_nothing():
    """The centred spectrum is as exact as without the mean."""
    matrix = random(3, (20, 50), mean=0, dtype=np.float64)
    shift = 1e6 * np.random.default_rng(4).normal(size=50).round(3)
    found = decompose(matrix + shift).centred.singular_values
    np.testing.assert_allclose(found, decompose(matrix).centred.singular_values, rtol=1e-7)


@pytest.mark.parametrize("shape", [(6, 30), (30, 6)])
def test_orthogonal(shape):
    count = min(shape)
    basis = 3 * rotation(1, max(shape))[:, :count]
    found = decompose(basis if shape[0] > shape[1] else basis.T).uncentred
    row = measures(found.singular_values, found.rank)
    for key in ("effective_rank", "participation_ratio", "stable_rank"):
        assert row[key] == pytest.approx(count)
    assert (row["rank"], row["dimension_90"]) == (count, 6)
    assert row["condition_number"] == pytest.approx(1)
    assert row["spectral_decay"] == pytest.approx(0, abs=1e-12)


def test_rank_one():
    matrix = np.outer(np.arange(1.0, 9), np.arange(2.0, 32))
    for centring in CENTRINGS:
        found = getattr(decompose(matrix), centring)
        row = measures(found.singular_values, found.rank)
        assert (row["rank"], row["dimension_90"], found.right.shape) == (1, 1, (30, 1))
        assert row["condition_number"] == math.inf
        for key in ("effective_rank", "participation_ratio", "stable_rank"):
            assert row[key] == pytest.approx(1, abs=1e-9)
    # A matrix of equal rows is nothing but its mean.
    same = decompose(np.ones((5, 7)))
    assert (same.uncentred.rank, same.centred.rank) == (1, 0)
    assert comparison(same.centred, same.centred) == {
        "subspace_dimensions": 0, "subspace_preservation": None, "projection_score": None,
        "alignment": None,
    }  # fmt: skip


def test_repeated_rows():
    matrix = random(5, (10, 40))
    doubled = np.concatenate([matrix, matrix])
    one, two = decompose(matrix).centred, decompose(doubled).centred
    assert (one.rank, two.rank) == (9, 9)
    np.testing.assert_allclose(
        two.singular_values[:9], math.sqrt(2) * one.singular_values, rtol=1e-9
    )
    assert principal_cosines(one.right, two.right) == pytest.approx(np.ones(9), abs=1e-6)
    with pytest.raises(AtlasError, match="10 and 20 rows cannot be compared"):
        comparison(one, two)


@pytest.mark.parametrize("power", [0.5, 1.5])
def test_a_power_law(power):
    matrix = rotation(1, 30) * np.arange(1.0, 31) ** -power @ rotation(2, 60)[:30]
    found = decompose(matrix).uncentred
    row = measures(found.singular_values, found.rank)
    assert row["spectral_decay"] == pytest.approx(power)
    assert row["spectral_decay_r2"] == pytest.approx(1)


def test_the_same_subspace_and_orthogonal_ones():
    basis = rotation(1, 40)
    draw = np.random.default_rng(2)
    one = draw.normal(size=(15, 8)) @ basis[:8]
    mixed = draw.normal(size=(15, 8)) @ basis[:8]
    apart = draw.normal(size=(15, 8)) @ basis[8:16]
    for centring in CENTRINGS:
        base, same, other = (getattr(decompose(m), centring) for m in (one, mixed, apart))
        found = comparison(base, same)
        assert found["subspace_dimensions"] == 8
        assert found["subspace_preservation"] == pytest.approx(1)
        assert found["projection_score"] == pytest.approx(1)
        found = comparison(base, other)
        assert found["subspace_preservation"] == pytest.approx(0, abs=1e-7)
        assert found["projection_score"] == pytest.approx(0, abs=1e-12)


def test_a_known_angle():
    angles = np.array([0.0, 0.3, 1.0])
    one = np.eye(6)[:, :3]
    other = np.concatenate([np.diag(np.cos(angles)), np.diag(np.sin(angles))])
    cosines = principal_cosines(one, other)
    assert cosines == pytest.approx(np.cos(angles))
    assert subspace_preservation(cosines) == pytest.approx(np.cos(angles).mean())
    assert projection_score(cosines) == pytest.approx((np.cos(angles) ** 2).mean())


def test_cka():
    matrix = random(6, (9, 30), dtype=np.float64)
    centred = decompose(matrix).centred.gram
    assert kernel_alignment(centred, centred) == pytest.approx(1)
    assert kernel_alignment(centred, 5 * centred) == pytest.approx(1)
    # Two features of the rows that do not vary together.
    x, y = (np.array([v], dtype=float).T for v in ([1, -1, 1, -1], [1, 1, -1, -1]))
    assert kernel_alignment(x @ x.T, y @ y.T) == 0
    assert kernel_alignment(x @ x.T, np.zeros((4, 4))) is None


@given(seeds, st.sampled_from([(8, 20), (20, 8)]), st.floats(0.01, 100))
def test_invariances(seed, shape, scale):
    matrix = random(seed, shape, dtype=np.float64)
    base = decompose(random(seed + 1, shape, dtype=np.float64), 4)
    turn = rotation(seed + 2, shape[1])
    order = np.random.default_rng(seed).permutation(shape[0])
    start = decompose(matrix, 4)
    for centring in CENTRINGS:
        one = getattr(start, centring)
        expected = measures(one.singular_values, one.rank)
        for changed in (matrix @ turn, scale * matrix, matrix[order]):
            other = getattr(decompose(changed, 4), centring)
            found = measures(other.singular_values, other.rank)
            assert found == near(expected)
        own = getattr(base, centring)
        expected = comparison(own, one)
        scaled = comparison(own, getattr(decompose(scale * matrix, 4), centring))
        ordered = comparison(own, getattr(decompose(matrix[order], 4), centring))
        # Subspaces know no order of the rows; alignment does.
        del ordered["alignment"]
        both = comparison(
            getattr(decompose(random(seed + 1, shape, dtype=np.float64) @ turn, 4), centring),
            getattr(decompose(matrix @ turn, 4), centring),
        )
        for found in (scaled, ordered, both):
            assert found == near({k: expected[k] for k in found})


@pytest.mark.parametrize("spread", [1e2, 0.9e3, 1e5])
def test_directions_in_half_precision(spread):
    """Ten rows of a huge mean and few directions: float32 where it is enough, else float64."""
    draw = np.random.default_rng(7)

    def rows():
        scale = np.logspace(0, -np.log10(spread), 12)
        matrix = draw.normal(size=(40, 12)) * scale @ rotation(1, 300)[:12]
        return (matrix + 1e-2 / spread * draw.normal(size=(40, 300)) + 3).astype(np.float16)

    one, other = rows(), rows()
    for centring in CENTRINGS:
        base, model = (getattr(decompose(m, 8), centring) for m in (one, other))
        found = tuple(comparison(base, model).values())[1:]
        assert found == pytest.approx(compared(one, other, 8, centring), rel=1e-6)


def test_nothing_is_decomposed_twice(monkeypatch):
    calls = []

    def counting(function):
        def counted(matrix, count):
            calls.append((function.__name__, matrix.shape))
            return function(matrix, count)

        return counted

    for function in (leading_eigenpairs, nested_eigenpairs):
        monkeypatch.setattr(module, function.__name__, counting(function))
    monkeypatch.setattr(module, "_from_matrix", None)
    decompose(random(1, (30, 40)), 5)
    decompose(random(1, (40, 30)), 5)
    # On the shorter side; both centrings at once where that is the side of the rows.
    assert calls == [("nested_eigenpairs", (30, 30)), *2 * [("leading_eigenpairs", (30, 30))]]


def test_many_rows_in_blocks():
    """More rows than columns: as if the rows had come at once, and no n x n matrix."""
    one, other = random(1, (70, 12)), random(2, (70, 12))
    for centring in CENTRINGS:
        base, model = (getattr(decompose(m, 5), centring) for m in (one, other))
        assert base.gram is None
        found = tuple(comparison(base, model).values())[1:]
        assert found == pytest.approx(compared(one, other, 5, centring), rel=1e-7)


@pytest.mark.parametrize("mean", [0.0, 1e-3, 1.0, 30.0])
@pytest.mark.parametrize("decay", [0.0, 0.7, 1.5])
def test_a_mean_of_any_size(mean, decay):
    matrix = random(8, (60, 90), decay=decay, mean=mean, dtype=np.float64)
    for centring in CENTRINGS:
        found = getattr(decompose(matrix, 10), centring)
        _, values, right = plainly(matrix, centring)
        np.testing.assert_allclose(found.singular_values, values, rtol=1e-7)
        assert principal_cosines(found.right, right[:, :10]) == pytest.approx(np.ones(10))
        np.testing.assert_allclose(found.right.T @ found.right, np.eye(10), atol=1e-9)


def test_what_has_no_geometry():
    for shape in ((1, 5), (5,)):
        with pytest.raises(AtlasError, match="have no geometry; a matrix with two rows"):
            decompose(np.ones(shape))
    for value in (np.nan, np.inf):
        matrix = random(1, (4, 6))
        matrix[2, 3] = value
        with pytest.raises(AtlasError, match="NaN or Inf"):
            decompose(matrix)


def stored(path, seed, rows=6, width=9, layers=2, prompts=None):
    arrays = {hook: random([seed, i], (rows, width)) for i, hook in enumerate(hook_names(layers))}
    texts = prompts or [f"p{i}" for i in range(rows)]
    write_streams(path, texts, [3] * rows, "last_token", arrays.items())
    return arrays


def test_rows(tmp_path):
    base, model = stored(tmp_path / "base.h5", 1), stored(tmp_path / "sft.h5", 2)
    stored(tmp_path / "rl.h5", 1)
    found = list(
        measure_layers(
            tmp_path / "base.h5", {"sft": tmp_path / "sft.h5", "rl": tmp_path / "rl.h5"}, 3
        )
    )
    rows = [row for row, _ in found]
    assert len(rows) == 4 * 3 * 2
    assert all(tuple(row) == COLUMNS for row in rows)
    assert [row["model"] for row in rows[:6]] == ["base", "base", "sft", "sft", "rl", "rl"]
    for row, values in found:
        hook = f"blocks.{row['layer']}.hook_{row['hook']}"
        assert (row["prompts"], row["dimensions"]) == (6, 9)
        # Only of centred rows it is CKA.
        names = ("uncentred_alignment", "cka")
        aligned, other = names if row["centring"] == "uncentred" else names[::-1]
        assert row[other] is None
        if row["model"] == "base":
            assert row["subspace_preservation"] is row["procrustes_distance"] is None
            assert row["cka"] is row["uncentred_alignment"] is None
        elif row["model"] == "rl":
            assert row["subspace_preservation"] == pytest.approx(1)
            assert row["projection_score"] == pytest.approx(1)
            assert row[aligned] == pytest.approx(1)
            assert row["procrustes_distance"] == pytest.approx(0, abs=1e-6)
        else:
            expected = compared(base[hook], model[hook], 3, row["centring"])
            found = (row["subspace_preservation"], row["projection_score"], row[aligned])
            assert found == pytest.approx(expected, rel=1e-5)
            one, expected, _ = plainly(model[hook], row["centring"])
            other, _, _ = plainly(base[hook], row["centring"])
            one, other = (m / np.linalg.norm(m) for m in (one, other))
            turn, _ = scipy.linalg.orthogonal_procrustes(one, other)
            nearest = np.linalg.norm(one @ turn - other)
            assert row["procrustes_distance"] == pytest.approx(nearest, abs=1e-7)
            np.testing.assert_allclose(values, expected, rtol=1e-7)


def test_files_that_cannot_be_compared(tmp_path):
    stored(tmp_path / "base.h5", 1)
    for what, more in (("hooks", {"layers": 1}), ("rows", {"rows": 5}), ("dimensions", {"width": 8}),
                       ("prompts", {"prompts": list("abcdef")})):  # fmt: skip
        stored(tmp_path / "other.h5", 2, **more)
        with pytest.raises(AtlasError, match=rf"other\.h5: its {what} are not those of .*base\.h5"):
            next(measure_layers(tmp_path / "base.h5", {"x": tmp_path / "other.h5"}))
    broken = random(1, (6, 9))
    broken[0, 0] = np.nan
    write_streams(tmp_path / "nan.h5", list("abcdef"), [1] * 6, "last_token",
                  [("blocks.0.hook_resid_post", broken)])  # fmt: skip
    with pytest.raises(AtlasError, match=r"nan\.h5: blocks\.0\.hook_resid_post: .* NaN or Inf"):
        next(measure_layers(tmp_path / "nan.h5", {}))


def test_the_dimensions_of_the_subspaces(tmp_path):
    base, model = (stored(tmp_path / f"{i}.h5", i, rows=20, width=30) for i in (1, 2))
    for k in (1, 4, 19):
        for row, _ in measure_layers(tmp_path / "1.h5", {"m": tmp_path / "2.h5"}, k):
            if row["model"] == "m":
                hook = f"blocks.{row['layer']}.hook_{row['hook']}"
                assert row["subspace_dimensions"] == k
                expected = compared(base[hook], model[hook], k, row["centring"])[0]
                assert row["subspace_preservation"] == pytest.approx(expected, rel=1e-5)
