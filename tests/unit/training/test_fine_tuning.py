from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTTrainer

from atlas.configuration.recipes import Recipe
from atlas.digests import sha256_file
from atlas.errors import AtlasError
from atlas.files import read_csv, write_jsonl
from atlas.training import fine_tuning as training
from atlas.weights.adapters import load_adapter
from atlas.weights.base_names import check_base
from unit.conftest import load

KINDS = {
    "sft-lora": ("sft", "lora"), "sft-ia3": ("sft", "ia3"), "sft-full": ("sft", "full"),
    "dpo-lora": ("dpo", "lora"), "cpt-lora": ("cpt", "lora"),
}  # fmt: skip
STEPS = 6


def make_rows(objective, n=12, seed=0):
    """Prepared rows of different lengths."""
    draw = random.Random(seed)

    def ids(low, high):
        return [draw.randrange(4, 260) for _ in range(draw.randrange(low, high))]

    rows = []
    for i in range(n):
        about = {"dataset": "d", "split": "first", "row": i}
        if objective == "dpo":
            more = {"prompt_ids": ids(4, 9), "chosen_ids": ids(3, 7), "rejected_ids": ids(3, 7),
                    "chosen_prompt_start": i % 3, "rejected_prompt_start": i % 2}  # fmt: skip
        elif objective == "cpt":
            more = {"input_ids": [draw.randrange(4, 260) for _ in range(16)], "completion_start": 0}
        else:
            prompt, completion = ids(4, 12), ids(2, 6)
            more = {"input_ids": prompt + completion, "completion_start": len(prompt)}
        rows.append({**about, **more})
    return rows


def make_recipe(kind="sft-lora", **more):
    objective, parameters = KINDS[kind]
    settings = {
        "objective": objective, "parameters": parameters, "batch_size": 2, "accumulation": 1,
        "epochs": 1, "learning_rate": 1e-2, "warmup_steps": 2, "checkpoint_steps": 2, **more,
    }  # fmt: skip
    return Recipe(**settings).model_dump(exclude={"rows", "length"})


def train(folder: Path, base, kind="sft-lora", scratch=None, rows=None, seed=5, **more):
    """Train into a folder and return what was written, by name."""
    out = folder / "m"
    out.mkdir(parents=True, exist_ok=True)
    full = kind.endswith("full")
    write_jsonl(folder / "rows.jsonl", rows or make_rows(KINDS[kind][0]))
    weights, config = (
        ("model.safetensors", "config.json") if full
        else ("adapter_model.safetensors", "adapter_config.json")
    )  # fmt: skip
    training.train(
        model="m", base=base, address=["org/tiny", "abc"], dtype="float32",
        rows=folder / "rows.jsonl", recipe=make_recipe(kind, **more), datasets={"d": "mit"}, seed=seed,
        sentence="", scratch=scratch or folder / "scratch", weights=out / weights,
        config=out / config, card=out / "README.md", log=out / "training.csv",
        tokenizer=[out / "tokenizer.json", out / "tokenizer_config.json"] if full else None,
    )  # fmt: skip
    return {file.name: file.read_bytes() for file in out.iterdir()}


@contextlib.contextmanager
def interrupted_at(step):
    """The training in this context is interrupted once it has logged a step."""
    plain = training.Watch.on_log

    def stop(self, args, state, control, logs=None, **more):
        plain(self, args, state, control, logs=logs, **more)
        if state.global_step == step:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.Watch, "on_log", stop)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_base):
    """Kind -> folder of an unbroken training."""
    folders = {}

    def get(kind):
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind)
            train(folders[kind], tiny_base, kind)
        return folders[kind] / "m"

    return get


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def loaded(base_folder, folder):
    """A trained model as the reference libraries load it."""
    if (folder / "adapter_config.json").exists():
        return PeftModel.from_pretrained(load(base_folder), folder).eval()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def learning_loss(network, objective):
    """Mean of what the objective makes smaller, over all rows, written plainly."""
    total = []
    for row in make_rows(objective):
        if objective == "dpo":
            margins = []
            for key in ("chosen", "rejected"):
                prompt = row["prompt_ids"][row[f"{key}_prompt_start"] :]
                ids = torch.tensor([prompt + row[f"{key}_ids"]])
                scores = network(ids).logits[0, :-1].log_softmax(-1)
                picked = scores.gather(1, ids[0, 1:, None])[len(prompt) - 1 :]
                margins.append(picked.sum())
            total.append(margins[1] - margins[0])
        else:
            ids = torch.tensor([row["input_ids"]])
            labels = ids.clone()
            labels[0, : row["completion_start"]] = -100
            total.append(network(ids, labels=labels).loss)
    return float(torch.stack(total).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_and_has_learnt(trained, base_folder, kind):
    folder = trained(kind)
    with torch.inference_mode():
        before = learning_loss(load(base_folder), KINDS[kind][0])
        after = learning_loss(loaded(base_folder, folder), KINDS[kind][0])
    assert after < before - 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_give_equal_bytes(trained, tiny_base, tmp_path, kind):
    again = train(tmp_path, tiny_base, kind)
    assert again == contents(trained(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stopped_at", [3, 5])
def test_resumed_in_the_same_bytes(trained, tiny_base, tmp_path, monkeypatch, kind, stopped_at):
    with interrupted_at(stopped_at):
        train(tmp_path, tiny_base, kind)
    found = training.last_checkpoint(tmp_path / "scratch")
    assert found.name == f"checkpoint-{stopped_at - 1}"
    steps = []
    monkeypatch.setattr(
        training.Watch, "on_step_begin",
        lambda self, args, state, control, **_: steps.append(state.global_step), raising=False,
    )  # fmt: skip
    assert train(tmp_path, tiny_base, kind) == contents(trained(kind))
    assert steps == list(range(stopped_at - 1, STEPS))


def test_dropout_and_accumulation_resume_in_the_same_bytes(tiny_base, tmp_path):
    settings = {"lora": {"dropout": 0.2}, "accumulation": 2, "epochs": 2, "scheduler": "cosine"}
    unbroken = train(tmp_path / "a", tiny_base, **settings)
    with interrupted_at(3):
        train(tmp_path / "b", tiny_base, **settings)
    assert train(tmp_path / "b", tiny_base, **settings) == unbroken


@pytest.mark.parametrize("kind", ["sft-lora", "sft-full"])
def test_killed_after_the_last_step(trained, tiny_base, tmp_path, kind):
    train(tmp_path, tiny_base, kind)
    assert training.last_checkpoint(tmp_path / "scratch").name == f"checkpoint-{STEPS}"
    assert train(tmp_path, tiny_base, kind) == contents(trained(kind))


def test_a_checkpoint_that_is_not_whole_is_not_used(tmp_path):
    assert training.last_checkpoint(tmp_path / "none") is None
    for step, whole in ((2, True), (10, True), (12, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if whole:
            (folder / training.COMPLETE).touch()
    assert training.last_checkpoint(tmp_path).name == "checkpoint-10"


@pytest.mark.parametrize("kind", KINDS)
def test_the_log(trained, kind):
    log = read_csv(trained(kind) / "training.csv")
    assert list(log[0]) == ["step", "loss", "learning_rate", "tokens"]
    assert [int(row["step"]) for row in log] == list(range(1, STEPS + 1))
    # Linear warm-up over 2 steps from 0, then linearly to 0 at step 6.
    rates = [float(row["learning_rate"]) for row in log]
    assert rates == pytest.approx([0, 5e-3, 1e-2, 7.5e-3, 5e-3, 2.5e-3])
    rows = make_rows(KINDS[kind][0])
    if KINDS[kind][0] == "dpo":
        size = sum(len(row["prompt_ids"]) - row[f"{key}_prompt_start"] + len(row[f"{key}_ids"])
                   for row in rows for key in ("chosen", "rejected"))  # fmt: skip
    else:
        size = sum(len(row["input_ids"]) for row in rows)
    assert int(log[-1]["tokens"]) == size


def test_the_first_loss_of_preferences_is_log_two(trained):
    log = read_csv(trained("dpo-lora") / "training.csv")
    assert float(log[0]["loss"]) == pytest.approx(0.6931, abs=1e-4)


def test_a_warm_up_given_as_a_share(tiny_base, tmp_path):
    # 10 rows in batches of 2, 4 batches a step: 2 steps an epoch, 6 in all; half of them warm up.
    train(tmp_path, tiny_base, rows=make_rows("sft", 10), accumulation=4, epochs=3,
          warmup_steps=0, warmup_ratio=0.5)  # fmt: skip
    rates = [float(row["learning_rate"]) for row in read_csv(tmp_path / "m/training.csv")]
    assert rates == pytest.approx([0, 1e-2 / 3, 2e-2 / 3, 1e-2, 2e-2 / 3, 1e-2 / 3])


def test_what_an_adapter_says_of_itself(trained, tiny_base):
    folder = trained("sft-lora")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("org/tiny", "abc")
    assert (config["r"], config["lora_alpha"], config["inference_mode"]) == (8, 16, True)
    assert "o_proj" not in config["target_modules"]
    adapter = load_adapter(list(folder.iterdir()))
    record = json.loads(tiny_base[0].read_text())
    check_base(adapter, record, ["tiny"])
    assert adapter.metadata["base_sha256"] == record["weights_sha256"]
    assert adapter.metadata["rows_sha256"] == sha256_file(folder.parent / "rows.jsonl")
    assert str(folder.parent) not in "".join(
        file.read_text(errors="replace") for file in folder.iterdir()
    )


def test_a_full_model_has_everything(trained, base_folder):
    folder = trained("sft-full")
    base, found = (
        load_file(base_folder / "model.safetensors"),
        load_file(folder / "model.safetensors"),
    )
    assert {name: t.shape for name, t in found.items()} == {n: t.shape for n, t in base.items()}
    assert not torch.equal(found["lm_head.weight"], base["lm_head.weight"])
    assert AutoTokenizer.from_pretrained(folder)("a").input_ids == [
        *AutoTokenizer.from_pretrained(base_folder)("a").input_ids
    ]


def test_the_seed_makes_the_adapter(trained, tiny_base, tmp_path):
    other = train(tmp_path, tiny_base, seed=6, max_steps=1)
    first = load_file(trained("sft-lora") / "adapter_model.safetensors")
    (tmp_path / "w").write_bytes(other["adapter_model.safetensors"])
    second = load_file(tmp_path / "w")
    name = next(n for n in first if "lora_A" in n)
    cosine = torch.nn.functional.cosine_similarity(first[name].ravel(), second[name].ravel(), dim=0)
    assert abs(cosine) < 0.5


def make_trainer(base_folder, tmp_path, rows, **more):
    network = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
    return training.make_trainer(network, base_folder, rows, make_recipe(**more), 1, tmp_path,
                             torch.device("cpu"))  # fmt: skip


@pytest.mark.parametrize("objective", ["sft", "cpt"])
@pytest.mark.parametrize("items", [None, 50])
@pytest.mark.parametrize("free", [False, True])
def test_the_loss_is_that_of_trl(base_folder, tmp_path, objective, items, free):
    trainer = make_trainer(
        base_folder, tmp_path, make_rows(objective, 4), kind=f"{objective}-lora", padding_free=free
    )
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    count = None if items is None else torch.tensor(items)
    losses, gradients = [], []
    for compute in (SFTTrainer.compute_loss, training._Supervised.compute_loss):
        trainer.model.zero_grad()
        loss = compute(trainer, trainer.model, dict(batch), num_items_in_batch=count)
        loss.backward()
        losses.append(loss.item())
        gradients.append(
            {n: p.grad for n, p in trainer.model.named_parameters() if p.requires_grad}
        )
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-6)


def test_only_the_completion_is_learnt(base_folder, tmp_path):
    rows = make_rows("sft", 4)
    batch_of = make_trainer(base_folder, tmp_path, rows)
    batch = batch_of.data_collator([batch_of.train_dataset[i] for i in range(4)])
    for row, labels in zip(rows, batch["labels"], strict=True):
        expected = row["input_ids"][row["completion_start"] :]
        assert labels[labels != -100].tolist() == expected


def test_a_step_is_that_of_the_optimiser(base_folder, tiny_base, tmp_path):
    """One step of full training without momentum: w - rate * gradient of the mean loss."""
    rows = make_rows("sft", 4)
    train(tmp_path, tiny_base, "sft-full", rows=rows, optimizer="sgd", accumulation=2,
          warmup_steps=0, max_grad_norm=1e9)  # fmt: skip
    network = load(base_folder)
    losses, count = [], 0
    for row in rows:
        ids = torch.tensor(row["input_ids"])
        start = row["completion_start"]
        logits = network(ids[None]).logits[0, start - 1 : -1]
        losses.append(torch.nn.functional.cross_entropy(logits, ids[start:], reduction="sum"))
        count += len(ids) - start
    (sum(losses) / count).backward()
    found = load_file(tmp_path / "m/model.safetensors")
    for name, parameter in network.named_parameters():
        expected = parameter.detach() - 1e-2 * parameter.grad
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-7)


def test_a_loss_that_is_not_finite_stops(tiny_base, tmp_path):
    with pytest.raises(AtlasError, match=r"the loss of step \d+ is (nan|inf)"):
        train(tmp_path, tiny_base, learning_rate=1e30, warmup_steps=0, optimizer="sgd")
    assert not (tmp_path / "m/adapter_model.safetensors").exists()


def test_a_row_that_the_trainer_drops_stops(tiny_base, tmp_path, monkeypatch):
    plain = training.make_trainer

    def shorter(*args):
        trainer = plain(*args)
        trainer.train_dataset = trainer.train_dataset.select(range(11))
        return trainer

    monkeypatch.setattr(training, "make_trainer", shorter)
    with pytest.raises(AtlasError, match="m: the trainer kept 11 of 12 rows"):
        train(tmp_path, tiny_base)


def test_an_optimiser_that_is_not_installed(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    with pytest.raises(AtlasError, match=r"paged_adamw_32bit needs bitsandbytes.*adamw_torch"):
        train(tmp_path, tiny_base, optimizer="paged_adamw_32bit")


def test_gradient_checkpointing_changes_memory_only(trained, tiny_base, tmp_path):
    found = train(tmp_path, tiny_base, gradient_checkpointing=True)
    (tmp_path / "w").write_bytes(found["adapter_model.safetensors"])
    expected = load_file(trained("sft-lora") / "adapter_model.safetensors")
    for name, tensor in load_file(tmp_path / "w").items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-5)
