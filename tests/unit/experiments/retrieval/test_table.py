from __future__ import annotations

import re

import numpy as np
import pytest

from atlas.errors import AtlasError
from atlas.experiments.retrieval.table import look_up, retrieval_table
from atlas.files import read_csv
from atlas.spaces.embeddings import Embeddings
from unit.experiments.tables import store


def test_queries_are_looked_up_among_the_models_of_their_base(tmp_path, places, published):
    pool = store(tmp_path / "p", ["a1", "a2", "b1", "far"], ["a", "a", "b", "b"],
                 [[1, 0], [1, 0.2], [0, 1], [1, 1]], ["b", "b", "b", "other"])  # fmt: skip
    queries = store(tmp_path / "q", ["qa", "qb"], ["a", "b"], [[2, 0.1], [1, 0.9]])
    retrieval_table(pools=[pool], queries=[queries], names=[["p", 1, "p"]],
                    settings={"p": "gemma"}, published=published,
                    name="few", **places)  # fmt: skip
    one, two, accuracy = read_csv(places["table"])
    assert (one["query"], one["rank"], one["nearest"], one["candidates"]) == ("qa", "1", "a1", "3")
    # cos of (1, .9) with (0, 1) is .669, with (1, .2) .860, with (1, 0) .743: b1 comes third.
    assert (two["rank"], two["nearest"], two["nearest_domain"]) == ("3", "a2", "a")
    assert float(two["similarity"]) == pytest.approx(1.18 / (1.81 * 1.04) ** 0.5)
    assert (accuracy["query"], accuracy["accuracy"], accuracy["published"]) == (
        "accuracy",
        "0.5",
        "1.0",
    )
    # What was published is told in the figure too.
    figure = next(file for file in places["figure"] if file.suffix == ".svg").read_text()
    text = " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", figure))
    assert "0.50 (1.00) of the queries (in brackets: published)" in text


def test_a_query_without_anything_to_find(tmp_path):
    pool = Embeddings("s", ["m"], ["a"], ["b"], 1, embeddings=np.ones((1, 1)))
    query = Embeddings("s", ["q"], ["z"], ["b"], 1, embeddings=np.ones((1, 1)))
    with pytest.raises(AtlasError, match="no model of b in the domain 'z'"):
        look_up(pool, query)
