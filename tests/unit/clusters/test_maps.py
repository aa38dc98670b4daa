from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import TSNE

from atlas.clusters import maps
from atlas.clusters.map_files import read_map
from atlas.clusters.maps import map_models, places_of, principal_components
from atlas.files import read_csv
from atlas.spaces.embeddings import Embeddings, write_embeddings


def pool(n=6, dimension=4, **more):
    rows = np.random.default_rng(1).normal(size=(n, dimension)).astype(np.float32)
    settings = {"dimension": dimension, "embeddings": rows, **more}
    names = [f"m{i}" for i in range(n)]
    return Embeddings("delta_activations", names, ["a"] * n, ["t"] * n, **settings)


def test_a_map_is_the_published_t_sne():
    rows = pool().embeddings.astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1)[:, None]
    matrix = np.clip(1 - unit @ unit.T, 0, 2)
    np.fill_diagonal(matrix, 0)
    expected = TSNE(perplexity=2, random_state=42, metric="precomputed", init="random")
    places, method = places_of(pool())
    np.testing.assert_allclose(places, expected.fit_transform(matrix), rtol=1e-3)
    assert method == "t-SNE of cosine distances, perplexity 2"


def test_a_map_is_read_as_it_was_written(tmp_path):
    write_embeddings(tmp_path / "e.npz", pool())
    map_models(embeddings=tmp_path / "e.npz", points=tmp_path / "map.csv")
    names, places, method = read_map(tmp_path / "map.csv")
    assert names == [f"m{i}" for i in range(6)]
    expected, described = places_of(pool())
    np.testing.assert_array_equal(places, expected.astype(np.float64))
    assert method == described


@pytest.mark.parametrize(
    "found", [pool(2), pool(embeddings=None, dimension=0, reason="other ranks")]
)
def test_no_map_no_rows(tmp_path, found):
    write_embeddings(tmp_path / "e.npz", found)
    map_models(embeddings=tmp_path / "e.npz", points=tmp_path / "map.csv")
    assert read_csv(tmp_path / "map.csv") == []
    assert (tmp_path / "map.csv").read_text() == "model,x,y,method\n"
    assert read_map(tmp_path / "map.csv")[0] == []


def clustered(n=150, **more):
    """Three groups of vectors in twenty dimensions."""
    generator = np.random.default_rng(2)
    centres = generator.normal(size=(3, 20))
    rows = centres[np.arange(n) % 3] + 0.3 * generator.normal(size=(n, 20))
    return pool(n, 20, embeddings=rows.astype(np.float32), **more)


def test_a_large_pool_keeps_its_clusters(monkeypatch):
    monkeypatch.setattr(maps, "EXACT", 100)
    places, method = places_of(clustered())
    assert method.startswith("t-SNE (Barnes-Hut) of 20 principal components")
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
