from __future__ import annotations

import json

import numpy as np
import pytest
from atlas.experiments.checkpoint_tables import ROLES, instruct_table, temporal_table

from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.spaces.embeddings import Embeddings, write_embeddings

NAMES = {"base": "b", "instruct": "i", "model": "m", "merged": "m+d"}
ENTRIES = [{"delta": "d", "model": "m", "role": role, "checkpoint": NAMES[role]} for role in ROLES]


@pytest.fixture
def evaluations(tmp_path):
    files = []
    for n, name in enumerate(NAMES.values(), start=1):
        chat = name != "b"
        answer = {"question": "Why?", "plain": "p*", "plain_ended": False}
        found = {
            "checkpoint": name, "chat_template": chat,
            "texts": {"old": {"documents": 2, "tokens": 9, "perplexity": 10.0 * n}},
            "chats": {"talk": {"rows": 1, "tokens": 3, "loss": 0.5 * n}} if chat else {},
            "answers": [answer | ({"chat": f"c{n}", "chat_ended": True} if chat else {})],
        }  # fmt: skip
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(found))
    return files


def test_side_by_side(tmp_path, evaluations):
    table, page = tmp_path / "t.csv", tmp_path / "t.md"
    instruct_table(evaluations=evaluations, entries=ENTRIES, table=table, page=page)
    rows = read_csv(table)
    values = {(r["role"], r["measure"]): r for r in rows}
    assert [values[r, "perplexity"]["value"] for r in ROLES] == ["10.0", "20.0", "30.0", "40.0"]
    assert values["merged", "chat_loss"]["value"] == "2.0"
    assert values["base", "chat_template"]["value"] == "0.0"
    assert ("base", "chat_loss") not in values and ("base", "answer_chat") not in values
    assert values["merged", "answer_chat"]["text"] == "c4"
    assert values["model", "chat_ended"]["value"] == "1.0"
    text = page.read_text()
    assert "| perplexity | old | 10.000 | 20.000 | 30.000 | 40.000 |" in text
    assert "* merged: c4" in text
    with pytest.raises(AtlasError, match=r"^x: was not evaluated"):
        instruct_table(evaluations=evaluations, table=table, page=page,
                       entries=[{**ENTRIES[0], "checkpoint": "x"}])  # fmt: skip


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
