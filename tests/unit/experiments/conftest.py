"""What tests of several tables share."""

from __future__ import annotations

import json

import pytest

from atlas.files import write_csv
from unit.experiments.tables import CHECKPOINTS


@pytest.fixture
def places(tmp_path):
    figure = [tmp_path / "f.svg", tmp_path / "f.png"]
    return {"table": tmp_path / "t.csv", "page": tmp_path / "t.md", "figure": figure}


@pytest.fixture
def published(tmp_path):
    file = tmp_path / "published.csv"
    write_csv(file, ("table", "setting", "quantity", "published"), [
        {"table": "additive", "setting": "math+coding", "quantity": "cosine_first", "published": 0.7},
        {"table": "additive", "setting": "math+coding", "quantity": "cosine_second", "published": 0.2},
        {"table": "robust", "setting": "same", "quantity": "delta_activations", "published": 0.6},
        {"table": "few", "setting": "gemma", "quantity": "accuracy", "published": 1.0},
    ])  # fmt: skip
    return file


@pytest.fixture
def evaluations(tmp_path):
    files = []
    for n, name in enumerate(CHECKPOINTS.values(), start=1):
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
