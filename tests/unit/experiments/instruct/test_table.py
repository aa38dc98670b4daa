from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.experiments.checkpoint_rows import ROLES
from atlas.experiments.instruct.table import instruct_table
from atlas.files import read_csv
from unit.experiments.tables import ENTRIES


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
