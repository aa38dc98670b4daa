"""The analysis of a pool, and the notebook that shows it."""

from pathlib import Path

import nbformat
import numpy as np
import pytest

from atlas.clusters.analysis import analyse, domain_similarities, mean_similarities
from atlas.clusters.maps import map_models
from atlas.clusters.neighbours import neighbours
from atlas.clusters.silhouettes import silhouettes
from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.spaces.embeddings import Embeddings, write_embeddings

ROOT = Path(__file__).resolve().parents[3]
NOTEBOOK = ROOT / "notebooks/analysis.ipynb"
NAMES = ["a-1", "a-2", "b-1", "b-2"]
ABOUT = {"model_names": NAMES, "domains": ["a", "a", "b", "b"], "base_model": ["base"] * 4}
VECTORS = np.array([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.2]], dtype=np.float32)


def pool(folder: Path) -> dict[str, Path | list[Path]]:
    """Files of a pool with one good space and one that has no embedding."""
    files = []
    for space, more in (
        ("delta_activations", {"dimension": 3, "embeddings": VECTORS}),
        ("flattened_weights", {"dimension": 0, "reason": "the models are of mixed kinds"}),
    ):
        file = folder / space / "embeddings.npz"
        file.parent.mkdir(parents=True)
        write_embeddings(file, Embeddings(space, **ABOUT, **more))
        map_models(embeddings=file, points=file.with_name("map.csv"))
        files.append(file)
    silhouettes(embeddings=files, silhouette=folder / "silhouette.csv")
    neighbours(embeddings=files, neighbours=folder / "neighbours.csv")
    return {
        "embeddings": files,
        "silhouette": folder / "silhouette.csv",
        "neighbours": folder / "neighbours.csv",
    }


def test_analyse(tmp_path):
    analyse(**pool(tmp_path), analysis=tmp_path / "analysis.csv")
    rows = read_csv(tmp_path / "analysis.csv")
    found = {(row["space"], row["measure"]): row["value"] for row in rows}
    assert len(found) == len(rows) == 14
    good = {measure: value for (space, measure), value in found.items() if space.startswith("d")}
    assert (good["models"], good["domains"], good["neighbour_accuracy"]) == ("4", "2", "1.0")
    unit = VECTORS.astype(float) / np.linalg.norm(VECTORS.astype(float), axis=1)[:, None]
    cosine = unit @ unit.T
    assert float(good["similarity_within"]) == pytest.approx((cosine[0, 1] + cosine[2, 3]) / 2)
    assert float(good["similarity_between"]) == pytest.approx(cosine[:2, 2:].mean())
    scores = {r["distance"]: r["silhouette"] for r in read_csv(tmp_path / "silhouette.csv")[:2]}
    assert good["silhouette_cosine"] == scores["cosine"]
    assert good["silhouette_cosine_clipped"] == scores["cosine_clipped"]
    empty = {measure for (space, measure), value in found.items() if not value}
    assert empty == {
        "silhouette_cosine", "silhouette_cosine_clipped", "similarity_within",
        "similarity_between", "neighbour_accuracy",
    }  # fmt: skip


def test_a_space_that_silhouette_csv_lacks_is_named(tmp_path):
    files = pool(tmp_path)
    lines = files["silhouette"].read_text().splitlines(keepends=True)
    files["silhouette"].write_text("".join(lines[:3]))
    with pytest.raises(AtlasError, match="no row for flattened_weights and cosine"):
        analyse(**files, analysis=tmp_path / "analysis.csv")


def test_a_domain_of_one_model_has_no_similarity_within():
    about = {**ABOUT, "domains": ["a", "b", "c", "d"]}
    found = Embeddings("delta_activations", dimension=3, embeddings=VECTORS, **about)
    within, between = mean_similarities(found)
    assert within is None
    assert between is not None
    domains, matrix = domain_similarities(found)
    assert domains == ["a", "b", "c", "d"]
    assert np.isnan(np.diag(matrix)).all()
    assert np.array_equal(np.isnan(matrix), np.eye(4, dtype=bool))
    assert np.array_equal(matrix, matrix.T, equal_nan=True)


def test_domain_similarities_agree_with_the_means():
    found = Embeddings("delta_activations", dimension=3, embeddings=VECTORS, **ABOUT)
    domains, matrix = domain_similarities(found)
    within, between = mean_similarities(found)
    assert domains == ["a", "b"]
    assert np.diag(matrix).mean() == pytest.approx(within)
    assert matrix[0, 1] == pytest.approx(between)


def test_the_notebook_is_committed_clean():
    text = NOTEBOOK.read_text(encoding="utf-8")
    page = nbformat.reads(text, as_version=4)
    nbformat.validate(page)
    assert page.metadata.kernelspec.name == "python3"
    assert [c.cell_type for c in page.cells].count("markdown") >= 4
    for cell in page.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert "/home/" not in text
    assert "/tmp/" not in text
