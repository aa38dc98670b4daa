"""Losses and answers on the rows of a task, against the networks themselves."""

import pytest
import torch

from atlas.networks.tokens import Tokens
from atlas.selection.answers import answers, exact_match, examples_loss
from unit.conftest import load
from unit.networks.seq2seq import load_t5, make_t5

ROWS = [
    {"input_ids": [20, 30, 40, 50, 60, 2], "completion_start": 4},
    {"input_ids": [21, 31, 7, 8, 9, 10, 11, 2], "completion_start": 2},
]


def parts(row):
    return row["input_ids"][: row["completion_start"]], row["input_ids"][row["completion_start"] :]


def test_a_causal_loss_is_the_mean_over_completion_tokens_by_the_examples(base_folder):
    network = load(base_folder)
    total, count = 0.0, 0
    with torch.inference_mode():
        for row in ROWS:
            logits = network(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
            for at in range(row["completion_start"], len(row["input_ids"])):
                total -= float(logits[at - 1, row["input_ids"][at]])
                count += 1
    found = examples_loss(network, Tokens(base_folder), ROWS)
    assert found == pytest.approx(total / count / 2, abs=1e-6)


def test_a_t5_s_loss_is_the_mean_over_completion_tokens_by_the_examples(tmp_path):
    folder = make_t5(tmp_path / "t5")[0].parent
    network = load_t5(folder)
    total, count = 0.0, 0
    with torch.inference_mode():
        for prompt, completion in map(parts, ROWS):
            decoder = torch.tensor([[0, *completion[:-1]]])
            output = network(input_ids=torch.tensor([prompt]), decoder_input_ids=decoder)
            logits = output.logits[0].log_softmax(-1)
            total -= sum(float(logits[i, token]) for i, token in enumerate(completion))
            count += len(completion)
    found = examples_loss(network, Tokens(folder), ROWS)
    assert found == pytest.approx(total / count / 2, abs=1e-6)


def test_answers_do_not_depend_on_their_batch(base_folder):
    network, tokens = load(base_folder), Tokens(base_folder)
    prompts = [f"{'word ' * (i % 5)}number {i}" for i in range(19)]
    together = answers(network, tokens, prompts, 3)
    assert together == [answers(network, tokens, [prompt], 3)[0] for prompt in prompts]


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [(" Yes.", "yes", True), ("yes\n", " Yes", True), ("(A)", "A", False), ("1.5", "15", True),
     ("yes, it is", "yes", False), ("", "a", False)],
)  # fmt: skip
def test_exact_match_is_the_published_one(answer, truth, right):
    assert exact_match(answer, truth) is right
