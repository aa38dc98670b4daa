"""The search against the published procedure, run with PEFT and nevergrad alone."""

import pytest
import torch

from atlas.errors import AtlasError
from atlas.networks.swap import adapter_applied, load_base
from atlas.networks.tokens import Tokens
from atlas.selection.answers import examples_loss
from atlas.selection.composition import aligned, composed
from atlas.selection.search import search
from atlas.weights.adapters import load_adapter
from unit.conftest import load
from unit.networks.seq2seq import load_t5, make_t5, make_t5_lora
from unit.selection import published_lorahub

ROWS = [
    {"input_ids": [20, 30, 40, 50, 60, 2], "completion_start": 4},
    {"input_ids": [21, 31, 7, 8, 2], "completion_start": 2},
    {"input_ids": [99, 98, 97, 2], "completion_start": 3},
]
SETTINGS = {"budget": 12, "bound": 1.5, "penalty": 0.05}


def ours(base_folder, files, seed):
    network = load_base(base_folder, "float32", torch.device("cpu"), seq2seq=True)
    tokens = Tokens(base_folder)
    parts = aligned([load_adapter(f) for f in files])

    def loss(weights):
        with adapter_applied(network, composed(parts, weights)):
            return examples_loss(network, tokens, ROWS)

    return search(loss, len(files), seed=seed, **SETTINGS)


def compare(found, expected):
    (best, steps), (weights, trajectory) = found, expected
    assert len(steps) == len(trajectory) == SETTINGS["budget"]
    for step, (at, score) in zip(steps, trajectory, strict=True):
        assert step.weights == pytest.approx(at, abs=1e-5)
        assert step.score == pytest.approx(score, abs=1e-5)
    assert best == pytest.approx(list(weights), abs=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_t5_is_searched_as_published(tmp_path, seed):
    base = make_t5(tmp_path / "t5")[0].parent
    files = [make_t5_lora(base, tmp_path / f"m{i}", i) for i in range(3)]
    prompts = [row["input_ids"][: row["completion_start"]] for row in ROWS]
    completions = [row["input_ids"][row["completion_start"] :] for row in ROWS]
    batch = {
        "input_ids": torch.tensor([p + [0] * (4 - len(p)) for p in prompts]),
        "attention_mask": torch.tensor([[1] * len(p) + [0] * (4 - len(p)) for p in prompts]),
        "labels": torch.tensor([c + [-100] * (3 - len(c)) for c in completions]),
    }
    expected = published_lorahub.search(
        lambda: load_t5(base), [f[0].parent for f in files], batch, len(ROWS), 12, seed
    )
    compare(ours(base, files, seed), expected)


def test_a_causal_model_learns_completions_only(base_folder, lora_pool):
    files = list(lora_pool.values())
    width = max(len(row["input_ids"]) for row in ROWS)
    batch = {
        "input_ids": torch.tensor([r["input_ids"] + [0] * (width - len(r["input_ids"]))
                                   for r in ROWS]),
        "attention_mask": torch.tensor([[1] * len(r["input_ids"])
                                        + [0] * (width - len(r["input_ids"])) for r in ROWS]),
        "labels": torch.tensor([
            [-100] * r["completion_start"] + r["input_ids"][r["completion_start"]:]
            + [-100] * (width - len(r["input_ids"])) for r in ROWS
        ]),
    }  # fmt: skip
    expected = published_lorahub.search(
        lambda: load(base_folder), [f[0].parent for f in files], batch, len(ROWS), 12, 4
    )
    compare(ours(base_folder, files, 4), expected)


def test_the_search_lowers_the_score_within_its_bounds():
    best, steps = search(lambda w: sum((x - 0.4) ** 2 for x in w), 3, budget=40, bound=1.5,
                         penalty=0.05, seed=1)  # fmt: skip
    assert steps[0].weights == (0.0, 0.0, 0.0)
    assert all(abs(w) <= 1.5 for step in steps for w in step.weights)
    assert min(s.score for s in steps) < 0.2 * steps[0].score
    # (w - .4)^2 + .05 / 3 |w| is least at .4 - .05 / 6.
    assert best == pytest.approx([0.39167] * 3, abs=0.05)


def test_a_loss_that_is_not_finite_stops_the_search():
    with pytest.raises(AtlasError, match="loss of step 1 of the search is nan"):
        search(lambda w: float("nan"), 2, budget=4, bound=1.5, penalty=0.05, seed=1)
