"""The protocol of the spaces, and what holds for each of their files."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas.configuration.pools import MAIN_SPACES, Pool
from atlas.spaces import space as protocol
from atlas.spaces.embeddings import read_embeddings
from atlas.spaces.names import space_names, space_title
from atlas.spaces.space import Nothing, Similarity, space, stacked
from unit.conftest import described

ROOT = Path(__file__).resolve().parents[3]
MEDIAN = '''"""Delta median: the median over probes of model minus base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atlas.activations.activation_files import deltas
from atlas.spaces.space import Found, space, stacked


@space
def embed(*, activations: Path, models: list[dict[str, Any]]) -> Found:
    """The median over probes of model minus base, (n, d) float32."""
    shifts = (np.median(delta, axis=0) for delta in deltas(activations, models))
    return stacked(shifts, len(models), "activations")
'''


@pytest.mark.parametrize("name", space_names())
def test_a_space_follows_the_protocol(name):
    module = importlib.import_module(f"atlas.spaces.{name}")
    assert module.__doc__.startswith(f"{space_title(name)}: ")
    parameters = inspect.signature(module.embed).parameters
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    types = typing.get_type_hints(module.embed)
    assert {*parameters} == {*types, "embeddings"} - {"return"}
    assert types.pop("return") == protocol.Found
    assert types.pop("models") == list[dict[str, Any]]
    assert {Path, list[Path]} & {*types.values()}
    rules = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    assert f'code("atlas.spaces.{name}:embed")' in rules
    assert f'"results/pools/{{pool}}/{name}/embeddings.npz"' in rules


def test_what_is_no_space_is_not_named():
    assert {f.stem for f in (ROOT / "scripts/atlas/spaces").glob("*.py")} - {*space_names()} == {
        "__init__", "embeddings", "large_pools", "names", "sketches", "space",
    }  # fmt: skip
    assert {*MAIN_SPACES} < {*space_names()}
    assert Pool(models=["*"]).spaces == list(MAIN_SPACES)


@pytest.mark.parametrize(
    ("found", "dimension"),
    [
        (np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32), 3),
        (Similarity(np.eye(2), 10**9), 10**9),
        (Nothing("they have nothing in common"), 0),
    ],
)
def test_what_a_space_finds_is_stored(tmp_path, found, dimension):
    @space
    def embed(*, activations, models):
        """Embed nothing."""
        assert activations == "here"
        return found

    models = [{"name": "b", "domain": "x", "base": "t"}, {"name": "a", "domain": "y", "base": "u"}]
    arguments = {"activations": "here", "models": models, "embeddings": tmp_path / "e.npz"}
    inspect.signature(embed).bind(**arguments)
    embed(**arguments)
    read = read_embeddings(tmp_path / "e.npz")
    assert (read.space, read.dimension) == ("test_space", dimension)
    assert (read.model_names, read.domains, read.base_model) == (["b", "a"], ["x", "y"], ["t", "u"])
    assert read.reason == (found.reason if isinstance(found, Nothing) else "")
    stored = read.similarity if isinstance(found, Similarity) else read.embeddings
    expected = found.cosines if isinstance(found, Similarity) else found
    assert stored is None if isinstance(found, Nothing) else np.array_equal(stored, expected)


def test_vectors_are_stacked_where_they_are_of_one_width():
    rows = [np.array([0.1, 1e9 + 1]), np.array([3.0, 4.0])]
    found = stacked(iter(rows), 2, "scores")
    assert found.dtype == np.float32
    assert np.array_equal(found, np.stack(rows).astype(np.float32))
    other = stacked([np.ones(4), np.ones(12), np.ones(4)], 3, "scores")
    assert other == Nothing("the models have scores of 4 and 12 dimensions")


@pytest.fixture
def extended(tmp_path):
    """A copy of the library with one file more."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "scripts/atlas/spaces/delta_median.py").write_text(MEDIAN)
    return tmp_path


def python(folder, text):
    return subprocess.run(
        [sys.executable, "-c", text], cwd=folder, env={"PYTHONPATH": "scripts"}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip


def test_a_new_space_is_one_file(extended, tmp_path):
    pool = 'Pool(models=["*"], spaces=["delta_median", "{}"])'
    text = f"""
import sys
from atlas.configuration.pools import Pool
from atlas.spaces.names import space_title
print({pool.format("salient_mask")}.spaces, space_title("delta_median"))
print("delta_median" in str(Pool.model_json_schema()))
assert not {{"numpy", "torch", "h5py"}} & {{*sys.modules}}
{pool.format("delta_mode")}
"""
    done = python(extended, text)
    assert done.stdout.splitlines() == [
        "['delta_median', 'salient_mask'] Delta median", "True",
    ], done.stderr  # fmt: skip
    assert re.search(r"'delta_median'.*input_value='delta_mode'", done.stderr, re.DOTALL)

    from atlas.activations.activation_files import write_activations

    base = np.zeros((3, 2), np.float32)
    moved = np.array([[1, 1], [2, 5], [9, 3]], np.float32)
    write_activations(tmp_path / "a.h5", list("pqr"), {"tiny": base}, {"m": moved})
    done = python(extended, f"""
from pathlib import Path
from atlas.spaces.delta_median import embed
embed(activations=Path("a.h5"), models={described(["m"])}, embeddings=Path("e.npz"))
""")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read_embeddings(tmp_path / "e.npz")
    assert (found.space, found.embeddings.tolist()) == ("delta_median", [[2.0, 3.0]])
