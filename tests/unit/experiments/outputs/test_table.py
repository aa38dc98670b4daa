from __future__ import annotations

import pytest

from atlas.errors import AtlasError
from atlas.experiments.outputs.table import outputs_table
from atlas.files import read_csv, write_jsonl


def test_outputs(tmp_path, places):
    shard = tmp_path / "p/shards/0000.sentences.jsonl"
    shard.parent.mkdir(parents=True)
    write_jsonl(shard, [
        {"model": "m", "probe": 0, "text": "one\n# two"}, {"model": "m", "probe": 1, "text": ""},
    ])  # fmt: skip
    models = [{"pool": "p", "name": "m", "base": "b", "domain": "d"}]
    outputs_table(sentences=[shard], models=models, table=places["table"], page=places["page"])
    found = read_csv(places["table"])
    assert [(r["probe"], r["text"]) for r in found] == [("1", "one\n# two"), ("2", "")]
    assert "    # two" in places["page"].read_text()
    with pytest.raises(AtlasError, match="n: no output"):
        outputs_table(sentences=[shard], models=[{**models[0], "name": "n"}], table=places["table"],
                      page=places["page"])  # fmt: skip
