from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atlas.configuration.recipes import Recipe
from atlas.errors import AtlasError
from atlas.files import read_csv, write_jsonl
from atlas.training import fine_tuning as training
from atlas.training import policy_training
from unit.conftest import LLAMA, load, make_base
from unit.training.test_fine_tuning import contents, interrupted_at, loaded

STEPS = 6
PROMPTS = 12


def make_recipe(**more):
    grpo = {"grader": "number", "answer": "first_number", "generations": 8, "new_tokens": 6}
    settings = {
        "objective": "grpo", "parameters": "lora", "batch_size": 16, "accumulation": 1, "epochs": 1,
        "learning_rate": 2e-2, "scheduler": "constant", "checkpoint_steps": 2, "grpo": grpo, **more,
    }  # fmt: skip
    return Recipe(**settings).model_dump(exclude={"rows", "length"})


def make_rows(n=PROMPTS):
    """Problems whose answer is 7, whatever is asked."""
    return [{"dataset": "d", "split": "first", "row": i, "prompt": f"problem {i}",
             "prompt_ids": [5 + i, 9, 20 + i][: 2 + i % 2], "entry": {"answer": "it is 7"}}
            for i in range(n)]  # fmt: skip


def train(folder: Path, base, rows=None, **more):
    out = folder / "m"
    out.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "rows.jsonl", rows or make_rows())
    policy_training.train_policy(
        model="m", base=base, address=["org/tiny", "abc"], dtype="float32",
        rows=folder / "rows.jsonl", recipe=make_recipe(**more), datasets={"d": "mit"}, seed=5,
        sentence="", scratch=folder / "scratch", weights=out / "adapter_model.safetensors",
        config=out / "adapter_config.json", card=out / "README.md", log=out / "training.csv",
    )  # fmt: skip
    return contents(out)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_base):
    folder = tmp_path_factory.mktemp("grpo")
    train(folder, tiny_base)
    return folder / "m"


def test_the_log(trained):
    log = read_csv(trained / "training.csv")
    assert list(log[0]) == ["step", "loss", "learning_rate", "tokens", "reward", "reward_std",
                            "completion_tokens", "truncated_share", "entropy"]  # fmt: skip
    assert [int(row["step"]) for row in log] == list(range(1, STEPS + 1))
    for row in log:
        # A reward is 0 or 1, so that its deviation over the 16 completions follows from its mean.
        mean = float(row["reward"])
        assert float(row["reward_std"]) == pytest.approx(
            (16 / 15 * mean * (1 - mean)) ** 0.5, abs=1e-6
        )
        assert 0 < float(row["completion_tokens"]) <= 6
    tokens = [int(float(row["tokens"])) for row in log]
    assert tokens == sorted(tokens) and tokens[0] > 16 * 2


def test_what_is_rewarded_becomes_likelier(tmp_path, monkeypatch):
    """With a reward that one completion in five earns by chance: that there is a digit."""
    # Wide enough weights that an adapter can move the head's logits.
    settings = {**LLAMA, "initializer_range": 0.2}
    source = {"random": {"architecture": "llama", "seed": 3, "config": settings}}
    wide = make_base(tmp_path / "wide", source)
    monkeypatch.setattr(
        policy_training, "reward", lambda completion, *_: float(any(map(str.isdigit, completion)))
    )
    train(tmp_path, wide, rows=make_rows(48), batch_size=32, epochs=3)
    log = [float(row["reward"]) for row in read_csv(tmp_path / "m/training.csv")]
    third = len(log) // 3
    assert sum(log[-third:]) > 1.5 * sum(log[:third]) > 0
    tokenizer = training.load_tokenizer(tmp_path / "wide")
    digits = [i for i in range(len(tokenizer)) if tokenizer.decode([i]).strip().isdigit()]
    ids = torch.tensor([make_rows(1)[0]["prompt_ids"]])
    with torch.inference_mode():
        before, after = (
            network(ids).logits[0, -1].softmax(-1)[digits].sum()
            for network in (load(tmp_path / "wide"), loaded(tmp_path / "wide", tmp_path / "m"))
        )
    assert after > 1.5 * before


def test_two_runs_give_equal_bytes(trained, tiny_base, tmp_path):
    assert train(tmp_path, tiny_base) == contents(trained)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_resumed_in_the_same_bytes(tiny_base, tmp_path, accumulation):
    settings = {"batch_size": 16 // accumulation, "accumulation": accumulation}
    unbroken = train(tmp_path / "a", tiny_base, **settings)
    with interrupted_at(5):
        train(tmp_path / "b", tiny_base, **settings)
    assert training.last_checkpoint(tmp_path / "b/scratch").name == "checkpoint-4"
    assert train(tmp_path / "b", tiny_base, **settings) == unbroken


@pytest.mark.parametrize(("prompts", "more", "sentence"), [
    (12, {"batch_size": 12}, "choose a multiple of 8"),
    (12, {"batch_size": 4}, "choose a multiple of 8"),
    (13, {}, "set rows to 12"),
    (1, {}, "set rows to 2"),
])  # fmt: skip
def test_prompts_that_would_be_dropped_are_refused(prompts, more, sentence):
    with pytest.raises(AtlasError, match=sentence):
        policy_training.prompts_per_step(prompts, make_recipe(**more))
