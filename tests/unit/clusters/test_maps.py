from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.manifold import TSNE

from atlas.clusters import maps
from atlas.clusters.map_files import fit, read_map
from atlas.clusters.maps import map_models, places_of, principal_components
from atlas.files import read_csv
from atlas.spaces.embeddings import Embeddings, write_embeddings


def pool(n=6, dimension=4, **more):
    rows = np.random.default_rng(1).normal(size=(n, dimension)).astype(np.float32)
    settings = {"dimension": dimension, "embeddings": rows, **more}
    names = [f"m{i}" for i in range(n)]
    return Embeddings("delta_activations", names, ["a"] * n, ["t"] * n, **settings)


def test_a_map_is_the_published_t_sne():
    rows = pool(30).embeddings.astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1)[:, None]
    matrix = np.clip(1 - unit @ unit.T, 0, 2)
    np.fill_diagonal(matrix, 0)
    expected = TSNE(perplexity=2, random_state=42, metric="precomputed", init="random")
    places, about = places_of(pool(30))
    np.testing.assert_allclose(places, expected.fit_transform(matrix), rtol=1e-3)
    assert about["method"] == "t-SNE of cosine distances, perplexity 2"
    nearest = [set(np.argsort(np.delete(row, i))[:10]) for i, row in enumerate(matrix)]
    there = [set(np.argsort(np.delete(np.linalg.norm(places - place, axis=1), i))[:10])
             for i, place in enumerate(places)]  # fmt: skip
    kept = np.mean([len(a & b) / 10 for a, b in zip(nearest, there, strict=True)])
    assert about["neighbours_kept"] == pytest.approx(kept)


def test_a_map_of_few_models_keeps_twins_together():
    rows = np.array([[1, 0, 0], [1, 0.01, 0], [0, 1, 0], [-1, 0, 0]], dtype=np.float32)
    places, about = places_of(pool(4, embeddings=rows))
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    # Cosine distances 0, 1 and 2, of points that a plane cannot quite hold.
    assert far[0, 1] < 0.1
    assert far[0, 3] == pytest.approx(2, abs=0.1)
    assert far[0, 2] == pytest.approx(1, abs=0.1)
    assert 0 < about["stress"] < 0.1


def in_a_plane(points):
    """Distances (n, n) of points in the plane."""
    return np.linalg.norm(points[:, None] - points[None], axis=2)


@settings(max_examples=10)
@given(st.integers(3, 12), st.integers(0, 2**32 - 1), st.sampled_from([1, 2]))
def test_what_a_plane_can_hold_is_kept(n, seed, width):
    points = np.random.default_rng(seed).normal(size=(n, width)) * [1, 0.5][:width]
    places, stress = maps.scaled(in_a_plane(points))
    np.testing.assert_allclose(in_a_plane(places), in_a_plane(points), atol=1e-6)
    assert stress == pytest.approx(0, abs=1e-6)


def test_what_a_plane_cannot_hold_is_said():
    distances = 1 - np.eye(15)
    places, stress = maps.scaled(distances)
    apart = in_a_plane(places)[~np.eye(15, dtype=bool)]
    assert stress == pytest.approx(np.sqrt(np.mean((apart - 1) ** 2)))
    assert stress > 0.3
    # No other scale fits better.
    assert all(np.mean((s * apart - 1) ** 2) > stress**2 for s in (0.99, 1.01))


def test_copies_lie_at_one_place():
    places, about = places_of(pool(4, embeddings=np.tile(np.float32([0.1, 0.7, -3]), (4, 1))))
    assert np.array_equal(places, np.zeros((4, 2)))
    assert about["stress"] == 0


@pytest.mark.parametrize(("stress", "word"), [(0.04, "well"), (0.15, "roughly"), (0.41, "poorly")])
def test_how_a_map_fits_is_said_in_words(stress, word):
    said = fit({"stress": str(stress), "neighbours_kept": ""})
    assert f"they fit {word} (stress {stress:.2f})" in said
    assert ("more ways than a plane can show" in said) == (word == "poorly")


def test_a_map_is_read_as_it_was_written(tmp_path):
    write_embeddings(tmp_path / "e.npz", pool())
    map_models(embeddings=tmp_path / "e.npz", points=tmp_path / "map.csv")
    names, places, method, said = read_map(tmp_path / "map.csv")
    assert names == [f"m{i}" for i in range(6)]
    expected, about = places_of(pool())
    np.testing.assert_array_equal(places, expected.astype(np.float64))
    assert method == about["method"] == "classical multidimensional scaling of cosine distances"
    assert said == fit({"stress": str(about["stress"]), "neighbours_kept": ""})


@pytest.mark.parametrize(
    "found", [pool(2), pool(embeddings=None, dimension=0, reason="other ranks")]
)
def test_no_map_no_rows(tmp_path, found):
    write_embeddings(tmp_path / "e.npz", found)
    map_models(embeddings=tmp_path / "e.npz", points=tmp_path / "map.csv")
    assert read_csv(tmp_path / "map.csv") == []
    assert (tmp_path / "map.csv").read_text() == "model,x,y,method,stress,neighbours_kept\n"
    assert read_map(tmp_path / "map.csv")[0] == []


def clustered(n=150, **more):
    """Three groups of vectors in twenty dimensions."""
    generator = np.random.default_rng(2)
    centres = generator.normal(size=(3, 20))
    rows = centres[np.arange(n) % 3] + 0.3 * generator.normal(size=(n, 20))
    return pool(n, 20, embeddings=rows.astype(np.float32), **more)


def test_a_large_pool_keeps_its_clusters(monkeypatch):
    monkeypatch.setattr(maps, "EXACT", 100)
    monkeypatch.setattr(maps, "ASKED", 50)
    places, about = places_of(clustered())
    assert about["method"].startswith("t-SNE (Barnes-Hut) of 20 principal components")
    assert 0.2 < about["neighbours_kept"] < 1
    np.testing.assert_array_equal(places, places_of(clustered())[0])
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(far, np.inf)
    assert np.mean(far.argmin(axis=1) % 3 == np.arange(150) % 3) > 0.98


def test_components_of_similarities_are_those_of_vectors():
    found = clustered()
    unit = found.embeddings.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    centred = unit - unit.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    expected = (u * s)[:, :2]
    similar = pool(150, embeddings=None, similarity=found.cosine_similarity())
    for parts in (principal_components(found), principal_components(similar)):
        np.testing.assert_allclose(np.abs(parts[:, :2]), np.abs(expected), atol=1e-3)
