from __future__ import annotations

import pytest

from atlas.clusters.silhouettes import silhouettes
from atlas.errors import AtlasError
from atlas.experiments.silhouettes.table import silhouettes_table
from atlas.files import read_csv
from unit.experiments.tables import store

POOLS = [["one", 1, "one"], ["two", 1, "two"]]


def test_silhouettes_of_several_pools(tmp_path, places, published):
    rows = [[1, 0], [1, 0.1], [0, 1], [0.1, 1]]
    one = store(tmp_path / "one", list("abcd"), ["x", "x", "y", "y"], rows)
    two = store(tmp_path / "two", list("abcd"), ["x", "y", "x", "y"], rows, ["k", "k", "l", "l"])
    files = []
    for file in (one, two):
        silhouette = file.parent.parent / "silhouette.csv"
        silhouettes(embeddings=[file], silhouette=silhouette)
        files.append(silhouette)
    silhouettes_table(silhouettes=files, pools=POOLS, spaces=[],
                      settings={"one": "same"}, published=published, perplexities=[],
                      name="robust", **places)  # fmt: skip
    found = {(r["pool"], r["label"], r["distance"]): r for r in read_csv(places["table"])}
    assert len(found) == 6
    assert found["one", "domain", "cosine_clipped"]["published"] == "0.6"
    assert found["one", "domain", "cosine"]["published"] == ""
    assert (
        found["two", "base", "cosine"]["silhouette"]
        == found["one", "domain", "cosine"]["silhouette"]
    )
    assert float(found["two", "domain", "cosine"]["silhouette"]) < 0
    for row in found.values():
        assert float(row["low"]) <= float(row["silhouette"]) <= float(row["high"])
        assert 0 < float(row["p_value"]) <= 1
    silhouettes_table(silhouettes=files, pools=POOLS, spaces=["delta_logits"], settings={},
                      perplexities=[], published=published, name="robust", **places)  # fmt: skip
    assert read_csv(places["table"]) == []
    continued = tmp_path / "perplexity.csv"
    continued.write_text("model,base,dataset,documents,perplexity,base_perplexity,change\n"
                         "read,tiny,law,20,9.0,12.0,-0.25\n")  # fmt: skip
    silhouettes_table(silhouettes=files, pools=POOLS, spaces=[], settings={}, name="robust",
                      perplexities=[continued], published=published, **places)  # fmt: skip
    page = places["page"].read_text()
    assert "of 20 held-out texts of law from 12.00 to 9.00 (-25%)" in page
    with pytest.raises(AtlasError, match="settings are: same"):
        silhouettes_table(silhouettes=files, pools=POOLS, spaces=[],
                          settings={"one": "other"}, published=published, perplexities=[],
                          name="robust", **places)  # fmt: skip
