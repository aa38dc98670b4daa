from __future__ import annotations

import json
import math

import pytest
import torch

from atlas.errors import AtlasError
from atlas.evaluation.perplexity import held_out_perplexity, perplexity
from atlas.files import read_csv
from atlas.networks.tokens import Tokens
from atlas.weights.tensors import write_safetensors
from unit.conftest import load, make_base, randomize

TEXTS = ["The court ruled.", "A second, rather longer text about law.", "Third."]


def plainly(network, texts) -> float:
    """Token by token, with nothing but the definition."""
    total, count = 0.0, 0
    for ids in texts:
        for i in range(1, len(ids)):
            logits = network(torch.tensor([ids[:i]])).logits[0, -1].double()
            total -= float(logits.log_softmax(-1)[ids[i]])
            count += 1
    return math.exp(total / count)


def test_against_the_definition(base_folder):
    network, tokens = load(base_folder), Tokens(base_folder)
    texts = [tokens.prompt(text) for text in TEXTS]
    with torch.no_grad():
        expected = plainly(network, texts)
    assert perplexity(network, texts, "m") == pytest.approx(expected, rel=1e-5)


def test_a_uniform_model_has_the_size_of_its_vocabulary(base_folder):
    network = load(base_folder)
    with torch.no_grad():
        network.lm_head.weight.zero_()
    size = network.config.vocab_size
    assert perplexity(network, [[5, 6, 7], [8, 9]], "m") == pytest.approx(size, rel=1e-5)


def test_nan_is_named(base_folder):
    network = load(base_folder)
    with torch.no_grad():
        network.model.norm.weight.fill_(math.nan)
    with pytest.raises(AtlasError, match=r"^odd: its mean negative log-likelihood is nan"):
        perplexity(network, [[5, 6]], "odd")


@pytest.fixture
def job(tmp_path):
    """A full model of a tiny base and texts of which one was trained on."""
    base = make_base(tmp_path / "bases" / "tiny")
    network = load(base[0].parent)
    randomize(network, 1)
    weights = tmp_path / "models" / "read" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    write_safetensors(weights, dict(network.state_dict()), {"format": "pt"})
    rest = tmp_path / "texts" / "rest.jsonl"
    rest.parent.mkdir()
    rest.write_text("".join(json.dumps({"row": i, "text": t}) + "\n" for i, t in enumerate(TEXTS)))
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"rows": [["texts/region", 0]], "input_ids": [1, 2]}) + "\n")
    config = weights.with_name("config.json")
    config.write_bytes((base[0].parent / "config.json").read_bytes())
    return network, {"name": "read", "rows": rows, "base": base, "model": [weights, config],
                     "texts": [rest], "base_names": ["tiny"], "dtype": "float32", "documents": 5,
                     "max_tokens": 12, "table": tmp_path / "perplexity.csv"}  # fmt: skip


def test_rows_that_were_trained_on_are_left_out(job):
    network, arguments = job
    held_out_perplexity(**arguments)
    (row,) = read_csv(arguments["table"])
    folder = arguments["base"][0].parent
    texts = [Tokens(folder).prompt(text)[:12] for text in TEXTS[1:]]
    assert (row["documents"], int(row["tokens"])) == ("2", sum(len(t) - 1 for t in texts))
    with torch.no_grad():
        before, after = plainly(load(folder), texts), plainly(network, texts)
    assert float(row["base_perplexity"]) == pytest.approx(before, rel=1e-5)
    assert float(row["perplexity"]) == pytest.approx(after, rel=1e-5)
    assert float(row["change"]) == pytest.approx(after / before - 1, abs=1e-5)


def test_nothing_held_out_is_an_error(job):
    arguments = job[1]
    rows = [{"dataset": "texts", "split": "all", "row": i} for i in range(3)]
    arguments["rows"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(AtlasError, match=r"texts: no text was held out; .*region"):
        held_out_perplexity(**arguments)
