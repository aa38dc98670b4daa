from __future__ import annotations

import numpy as np

from atlas.activations.activation_files import write_activations
from atlas.spaces.delta_activations import embed
from atlas.spaces.embeddings import read_embeddings
from unit.conftest import described


def embedded(tmp_path, bases, models, about):
    write_activations(tmp_path / "a.h5", ["p", "q"], bases, models)
    embed(activations=tmp_path / "a.h5", models=about, embeddings=tmp_path / "e.npz")
    return read_embeddings(tmp_path / "e.npz")


def test_by_hand(tmp_path):
    model = np.array([[1, 2], [3, 6]], dtype=np.float32)
    base = np.array([[0, 1], [1, 1]], dtype=np.float32)
    found = embedded(tmp_path, {"t": base}, {"a": model}, described(["a"], "t"))
    assert found.embeddings.tolist() == [[1.5, 3.0]]


def test_rows_stand_in_the_order_of_the_pool_each_minus_its_own_base(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {n: rng.normal(size=(2, 3)).astype(np.float32) for n in ("t", "u", "a", "b", "c")}
    models = {n: arrays[n] for n in "abc"}
    about = [
        {"name": "c", "base": "u", "domain": "x"}, {"name": "a", "base": "t", "domain": "y"},
        {"name": "b", "base": "u", "domain": "x"},
    ]  # fmt: skip
    found = embedded(tmp_path, {"t": arrays["t"], "u": arrays["u"]}, models, about)
    expected = [np.mean(arrays[m["name"]] - arrays[m["base"]], axis=0) for m in about]
    np.testing.assert_allclose(found.embeddings, expected, rtol=1e-6)
    assert found.embeddings.dtype == np.float32
    assert (found.model_names, found.base_model, found.dimension) == (
        ["c", "a", "b"], ["u", "t", "u"], 3,
    )  # fmt: skip


def test_bases_of_other_widths_have_no_common_dimension(tmp_path):
    bases = {"t": np.zeros((2, 3), np.float32), "u": np.zeros((2, 4), np.float32)}
    models = {"a": np.ones((2, 3), np.float32), "b": np.ones((2, 4), np.float32)}
    about = described(["a"], "t") + described(["b"], "u")
    found = embedded(tmp_path, bases, models, about)
    assert (found.dimension, found.embeddings) == (0, None)
    assert "3 and 4 dimensions" in found.reason
