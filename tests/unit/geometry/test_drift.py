from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from peft import PeftModel
from scipy.stats import entropy

from atlas.errors import AtlasError
from atlas.files import read_csv, write_jsonl
from atlas.geometry.drift import Reference, compared, comparison_drift, measure_drift, references
from atlas.networks.tokens import Tokens
from unit.conftest import load, make_adapter

ROWS = {
    "sums": [{"prompt": "One and one?", "completion": " Two."},
             {"prompt": "And two and two, which is more?", "completion": " Four"}],
    "colours": [{"prompt": "A colour.", "chosen": " Blue, as the sea.", "rejected": " Seven."}],
}  # fmt: skip


@pytest.fixture
def tasks(tmp_path):
    files = []
    for name, rows in ROWS.items():
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "rest.jsonl")
        write_jsonl(files[-1], [{"row": i, **row} for i, row in enumerate(rows)])
    return files


@pytest.fixture
def measure(tiny_base, tasks, tmp_path):
    def measured(model, **changes):
        record = json.loads(tiny_base[0].read_text())
        table = tmp_path / "drift.csv"
        measure_drift(**{
            "base": tiny_base, "model": model, "prompts": tasks, "dtype": "float32",
            "base_names": [str(tiny_base[0].parent), record["name"]], "learnt": ["sums"],
            "most": 10, "max_tokens": 100, "drift": table, **changes,
        })  # fmt: skip
        return {row["task"]: row for row in read_csv(table)}

    return measured


class Fixed(torch.nn.Module):
    """A network that always gives the same logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, input_ids, **_):
        return SimpleNamespace(logits=self.logits.expand(1, input_ids.shape[1], -1))


def test_two_distributions_by_hand():
    """At each of two tokens: .5 log 2 + .5 log 2/3 between (1/2, 1/2) and (1/4, 3/4)."""
    one, two = Fixed([0.0, 0.0]), Fixed([0.0, float(np.log(3.0))])
    kl, old, new = compared(one, two, Reference([1, 0, 1, 1], 2))
    assert kl == pytest.approx(2 * entropy([0.5, 0.5], [0.25, 0.75]), rel=1e-6)
    assert kl == pytest.approx(np.log(2) + np.log(2 / 3), rel=1e-6)
    assert old == pytest.approx(2 * np.log(2))
    assert new == pytest.approx(2 * np.log(4 / 3), rel=1e-6)
    # It is forward: from the base.
    assert compared(two, one, Reference([1, 0, 1, 1], 2))[0] == pytest.approx(
        2 * entropy([0.25, 0.75], [0.5, 0.5]), rel=1e-6
    )


def plainly(base, model, folder, rows):
    """Token by token, with nothing but the definition."""
    tokens, kl, old, new = Tokens(folder), [], [], []
    for row in rows:
        ids = tokens.prompt(row["prompt"])
        for token in tokens.text(row.get("completion", row.get("chosen")), close=False):
            p, q = (net(torch.tensor([ids])).logits[0, -1].double() for net in (base, model))
            p, q = (torch.distributions.Categorical(logits=x) for x in (p, q))
            kl.append(float(torch.distributions.kl_divergence(p, q)))
            at = torch.tensor(token)
            old.append(-float(p.log_prob(at)))
            new.append(-float(q.log_prob(at)))
            ids = [*ids, token]
    return len(kl), np.mean(kl), np.mean(old), np.mean(new)


@pytest.mark.parametrize("kind", ["lora4", "ia3", "full"])
def test_models_of_every_kind_against_the_definition(kind, measure, base_folder, mixed_pool):
    files = mixed_pool[kind]
    base = load(base_folder)
    model = load(files[0].parent) if kind == "full" else (
        PeftModel.from_pretrained(load(base_folder), files[0].parent).eval()
    )  # fmt: skip
    found = measure(files)
    for task, row in found.items():
        with torch.no_grad():
            count, kl, old, new = plainly(base, model, base_folder, ROWS[task])
        assert (row["model"], int(row["tokens"])) == (kind, count)
        assert float(row["kl_nats_per_token"]) == pytest.approx(kl, rel=1e-3, abs=1e-7) != 0
        assert float(row["base_loss_nats_per_token"]) == pytest.approx(old, rel=1e-5)
        assert float(row["model_loss_nats_per_token"]) == pytest.approx(new, rel=1e-5)
        assert float(row["loss_rise_nats_per_token"]) == pytest.approx(new - old, abs=1e-5)
    assert {task: row["learnt"] for task, row in found.items()} == {"sums": "1", "colours": "0"}
    assert [row["rows"] for row in found.values()] == ["2", "1"]


def test_the_base_itself_does_not_move(measure, base_folder, tmp_path):
    load(base_folder).save_pretrained(tmp_path / "same")
    found = measure([tmp_path / "same" / n for n in ("config.json", "model.safetensors")])
    for row in found.values():
        assert float(row["kl_nats_per_token"]) == float(row["loss_rise_nats_per_token"]) == 0


def test_virtual_tokens_stand_before_the_completion(measure, base_folder, tmp_path):
    from peft import PromptTuningConfig

    config = PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    files = make_adapter(base_folder, tmp_path / "prompts", config, 1)
    model = PeftModel.from_pretrained(load(base_folder), files[0].parent).eval()
    tokens = Tokens(base_folder)
    losses = []
    for row in ROWS["sums"]:
        prompt = tokens.prompt(row["prompt"])
        ids = torch.tensor([[*prompt, *tokens.text(row["completion"], close=False)]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, 3 + len(prompt) - 1 : -1].double()
        target = ids[0, len(prompt) :]
        losses += torch.nn.functional.cross_entropy(logits, target, reduction="none").tolist()
    found = measure(files)["sums"]
    assert float(found["model_loss_nats_per_token"]) == pytest.approx(np.mean(losses), rel=1e-5)


def test_rows_that_are_too_long_are_counted(measure, mixed_pool, tasks, base_folder):
    tokens = Tokens(base_folder)
    short = sum(len(tokens.text(ROWS["sums"][0][key], close=False))
                for key in ("prompt", "completion"))  # fmt: skip
    rows, dropped = references(tasks[0], base_folder, 10, short + 1)
    assert (len(rows), dropped) == (1, 1)
    assert (len(references(tasks[0], base_folder, 1, 100)[0]), dropped) == (1, 1)
    with pytest.raises(AtlasError, match=r"of its first 2 rows none has .* 3 tokens together"):
        measure(mixed_pool["full"], max_tokens=3)


def test_nan_is_named(measure, base_folder, tmp_path):
    network = load(base_folder)
    with torch.no_grad():
        network.model.norm.weight.fill_(1e30)
        network.lm_head.weight *= 1e20
    network.save_pretrained(tmp_path / "odd")
    with pytest.raises(AtlasError, match=r"^odd: on sums, its log-probabilities have NaN or Inf"):
        measure([tmp_path / "odd" / n for n in ("config.json", "model.safetensors")])


def test_the_models_of_a_comparison_are_joined(measure, mixed_pool, tmp_path):
    one = list(measure(mixed_pool["full"]).values())
    (tmp_path / "drift.csv").rename(tmp_path / "one.csv")
    two = list(measure(mixed_pool["ia3"]).values())
    files = [tmp_path / "one.csv", tmp_path / "drift.csv"]
    comparison_drift(measured=files, drift=tmp_path / "all.csv")
    assert read_csv(tmp_path / "all.csv") == one + two
