"""Pools in Python, on files of a run that are written by the library's own functions."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from atlas.clusters.maps import map_models
from atlas.clusters.neighbours import neighbours
from atlas.clusters.silhouettes import silhouettes
from atlas.errors import AtlasError
from atlas.own_models import notebook
from atlas.own_models.notebook import Pool
from atlas.spaces.embeddings import Embeddings, write_embeddings
from documents import blocks
from unit.job.runs import Run, flip

NAMES = ["algebra", "law", "maths"]
DOMAINS = ["math", "legal", "math"]
VECTORS = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 4.0]], dtype=np.float32)
SPACES = {
    "delta_activations": {"dimension": 2, "embeddings": VECTORS},
    "weight_deltas": {"dimension": 9_000, "similarity": np.eye(3)},
    "flattened_weights": {"dimension": 0, "reason": "the models are of mixed kinds"},
}


@pytest.fixture
def run(tmp_path):
    """A run whose pool `mine` is in three spaces: of vectors, of similarities, of nothing."""
    made = Run(tmp_path)
    folder = tmp_path / "results/pools/mine"
    for space, more in SPACES.items():
        file = folder / space / "embeddings.npz"
        file.parent.mkdir(parents=True)
        write_embeddings(file, Embeddings(space, NAMES, DOMAINS, ["tiny"] * 3, **more))
        map_models(embeddings=file, points=file.with_name("map.csv"))
    files = sorted(folder.glob("*/embeddings.npz"))
    neighbours(embeddings=files, neighbours=folder / "neighbours.csv")
    silhouettes(embeddings=files, silhouette=folder / "silhouette.csv")
    for file in [file for file in folder.rglob("*.*") if file.is_file()]:
        made.job({file.relative_to(tmp_path).as_posix(): file.read_bytes()})
    return made


@pytest.fixture
def pool(run):
    return Pool("mine", run.root)


def test_a_pool_as_pandas_has_it(pool):
    assert pool.spaces == sorted(SPACES)
    assert repr(pool).startswith(f"Pool('mine'): {', '.join(sorted(SPACES))}; page: ")
    assert pool.models()["domain"].to_dict() == dict(zip(NAMES, DOMAINS, strict=True))
    found = pool.embeddings()
    assert found.index.tolist() == NAMES
    assert found.to_numpy().tolist() == VECTORS.tolist()
    # By hand: (2, 0) and (3, 4) have the cosine 6 / (2 * 5).
    assert pool.similarities().loc["algebra", "maths"] == pytest.approx(0.6)
    assert pool.similarities("weight_deltas").loc["law", "maths"] == 0.0
    near = pool.neighbours("maths")
    assert near.index.tolist() == ["law", "algebra"]  # 0.8 and 0.6
    assert near["similarity"].tolist() == pytest.approx([0.8, 0.6])
    assert near["domain"].tolist() == ["legal", "math"]
    places = pool.map()
    assert places.columns.tolist() == ["x", "y", "domain"]
    assert places.index.tolist() == NAMES
    assert pool.table("silhouette")["space"].nunique() == 3
    assert pool.page.as_posix().endswith("results/pools/mine/navigator.html")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: p.embeddings("weight_deltas"), "has no vectors: its vectors are huge"),
        (lambda p: p.embeddings("flattened_weights"), "has no vectors: the models are of mixed"),
        (lambda p: p.similarities("flattened_weights"), "flattened_weights is empty: the models"),
        (lambda p: p.embeddings("delta_activation"), "did you mean 'delta_activations'"),
        (lambda p: p.neighbours("math"), "there is no model 'math'; did you mean 'maths'"),
        (lambda p: p.table("report"), r"report\.csv: is not there; make it: snakemake"),
        (lambda p: Pool("min", p._root), "there is no pool 'min'; did you mean 'mine'"),
    ],
)
def test_what_is_not_there_is_told(pool, ask, message):
    with pytest.raises(AtlasError, match=message):
        ask(pool)


@pytest.mark.parametrize("name", ["neighbours.csv", "delta_activations/map.csv"])
def test_a_file_that_was_altered_is_refused(run, pool, name):
    flip(run / f"results/pools/mine/{name}", 40)
    with pytest.raises(AtlasError, match=f"{name}: is not what a job made"):
        pool.neighbours("maths") if name == "neighbours.csv" else pool.map()


def test_models_are_mapped_as_the_command_does(run, monkeypatch):
    found = SimpleNamespace(pools={"mine": ()}, write=lambda: "mine.yaml")
    asked = []
    monkeypatch.chdir(run.root)
    monkeypatch.setattr(notebook, "current_plan", lambda files: "plan")
    monkeypatch.setattr(notebook, "own_pools", lambda *a, **k: asked.append((a, k)) or found)
    monkeypatch.setattr(
        notebook, "run", lambda found, files, cores: asked.append((files, cores)) or 0
    )
    pool = notebook.map_models(["a", "b"], domains=["x", "y"], cores=2)
    assert isinstance(pool.embeddings(), pd.DataFrame)
    assert asked == [
        ((["a", "b"], "mine", "plan"), {"base": None, "domains": ["x", "y"]}), (["mine.yaml"], 2),
    ]  # fmt: skip
    monkeypatch.setattr(notebook, "run", lambda *_: 1)
    with pytest.raises(AtlasError, match="the run of mine ended with the status 1"):
        notebook.map_models(["a", "b"])


def test_the_page_calls_what_there_is():
    (block,) = (b for b in blocks("docs/models.md") if b.language == "python")
    tree = ast.parse(block.text)
    called = {
        node.attr for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "pool"
    }  # fmt: skip
    assert len(called) == 6
    assert called <= {*dir(Pool), "page"}
    assert "from atlas.own_models.notebook import Pool, map_models" in block.text
