from __future__ import annotations

import numpy as np
import pytest

from atlas.experiments.temporal.table import temporal_table
from atlas.files import read_csv
from atlas.spaces.embeddings import Embeddings, write_embeddings
from unit.experiments.tables import ENTRIES


def test_distances_before_and_after(tmp_path, evaluations):
    names = ["m", "m+d", "n", "n+d"]
    about = {"model_names": names, "domains": ["o", "o", "p", "p"], "base_model": ["b"] * 4}
    vectors = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=np.float32)
    files = [tmp_path / "a.npz", tmp_path / "l.npz"]
    write_embeddings(
        files[0], Embeddings("delta_activations", dimension=2, embeddings=vectors, **about)
    )
    write_embeddings(
        files[1], Embeddings("delta_logits", dimension=0, reason="no common one", **about)
    )
    places = {key: tmp_path / f"t.{key}" for key in ("table", "distances", "page")}
    temporal_table(
        evaluations=evaluations, entries=ENTRIES, embeddings=files, pools=["p", "p"], name="t",
        pairs=[["m", "n", ""], ["m+d", "n+d", "d"], ["m", "z", ""]],
        figure=[tmp_path / "f.svg", tmp_path / "f.png"], **places,
    )  # fmt: skip
    found = {(r["space"], r["delta"]): r for r in read_csv(places["distances"])}
    assert float(found["delta_activations", ""]["distance"]) == pytest.approx(1)
    assert float(found["delta_activations", "d"]["distance"]) == pytest.approx(0, abs=1e-12)
    assert found["delta_logits", ""]["distance"] == ""
    assert found["delta_logits", ""]["reason"] == "no common one"
    assert len(read_csv(places["table"])) > 8
    assert (tmp_path / "f.png").stat().st_size > 1000
