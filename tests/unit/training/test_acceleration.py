"""Batches without padding give what padded ones give, and what cannot be had is refused."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from safetensors.torch import load_file

from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.networks.architectures import load
from atlas.training import acceleration as faster_training
from atlas.training import fine_tuning as training
from unit.conftest import TINY_BASE, make_base
from unit.networks.seq2seq import make_t5
from unit.training.test_fine_tuning import interrupted_at, make_recipe, make_rows, train

CPU = torch.device("cpu")
UNEQUAL = [18, 4, 9, 13, 2, 7, 16, 5, 11, 3, 8, 14]
# Architectures that make their masks from positions, beside the llama of the other tests.
LLAMA = TINY_BASE["random"]["config"]
SEPARATE = {
    "gemma3_text": {**LLAMA, "head_dim": 4, "sliding_window": 4},
    "qwen3": {**LLAMA, "head_dim": 4},
}
# Their positions come from a mask that a flattened batch does not have.
OPT = {"hidden_size": 16, "ffn_dim": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
       "word_embed_proj_dim": 16, "max_position_embeddings": 64}  # fmt: skip


def rows_of(objective):
    """Rows of unequal lengths."""
    rows = make_rows(objective)
    if objective == "cpt":
        for row, length in zip(rows, UNEQUAL, strict=True):
            row["input_ids"] = (row["input_ids"] * 2)[:length]
    assert len({len(row["input_ids"]) for row in rows}) > 4
    return rows


def random_base(folder, architecture, config):
    return make_base(
        folder, {"random": {"architecture": architecture, "seed": 1, "config": config}}
    )


def make_trainer(folder, scratch, rows, **more):
    return training.make_trainer(
        load(folder, "float32", CPU), folder, rows, make_recipe(**more), 1, scratch, CPU
    )


@pytest.mark.parametrize("kind", ["sft-lora", "cpt-lora", "sft-ia3", "sft-full"])
def test_padding_changes_rounding_only(tiny_base, tmp_path, kind):
    """The same rows in each step: losses within 2e-6 of 5.6, tensors within 1e-5."""
    rows = rows_of(kind.partition("-")[0])
    found = {
        free: train(tmp_path / str(free), tiny_base, kind, rows=rows, batch_size=3, accumulation=2,
                    padding_free=free)
        for free in (False, True)
    }  # fmt: skip
    logs = [read_csv(tmp_path / str(free) / "m/training.csv") for free in (False, True)]
    for padded, flat in zip(*logs, strict=True):
        assert float(flat["loss"]) == pytest.approx(float(padded["loss"]), abs=2e-6)
        assert [flat[k] for k in ("step", "learning_rate", "tokens")] == [
            padded[k] for k in ("step", "learning_rate", "tokens")
        ]
    assert int(logs[1][-1]["tokens"]) == sum(len(row["input_ids"]) for row in rows)
    weights = next(name for name in found[True] if name.endswith(".safetensors"))
    padded, flat = (load_file(tmp_path / str(free) / "m" / weights) for free in (False, True))
    for name, tensor in padded.items():
        torch.testing.assert_close(flat[name], tensor, rtol=1e-4, atol=1e-5)


def test_it_resumes_in_the_same_bytes(tiny_base, tmp_path):
    unbroken = train(tmp_path / "a", tiny_base, padding_free=True)
    with interrupted_at(3):
        train(tmp_path / "b", tiny_base, padding_free=True)
    assert train(tmp_path / "b", tiny_base, padding_free=True) == unbroken


@pytest.mark.parametrize("objective", ["sft", "cpt"])
def test_a_row_does_not_see_its_neighbours(base_folder, tmp_path, objective):
    """The losses of rows in one flattened batch, added up, are those of each row alone."""
    rows = rows_of(objective)[:4]
    trainer = make_trainer(base_folder, tmp_path, rows, kind=f"{objective}-lora", padding_free=True)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)

    def loss(*chosen):
        batch = trainer.data_collator([trainer.train_dataset[i] for i in chosen])
        assert batch["input_ids"].shape[0] == 1
        assert "attention_mask" not in batch
        with torch.no_grad():
            return float(trainer.compute_loss(trainer.model, batch, num_items_in_batch=1))

    assert loss(0, 1, 2, 3) == pytest.approx(sum(loss(i) for i in range(4)), rel=1e-6)


@pytest.mark.parametrize("architecture", SEPARATE)
def test_architectures_that_keep_rows_apart(tmp_path, architecture):
    base = random_base(tmp_path / "base", architecture, SEPARATE[architecture])
    make_trainer(base[0].parent, tmp_path, make_rows("sft", 4), padding_free=True)


def test_an_architecture_in_which_a_row_sees_the_one_before_it(tmp_path):
    base = random_base(tmp_path / "base", "opt", OPT)
    settings = {"lora": {"targets": ["q_proj", "v_proj"]}}
    make_trainer(base[0].parent, tmp_path, make_rows("sft", 4), **settings)
    with pytest.raises(AtlasError, match="padding_free: in opt a row of a flattened batch sees"):
        make_trainer(base[0].parent, tmp_path, make_rows("sft", 4), padding_free=True, **settings)


@pytest.mark.parametrize("key", faster_training.FASTER)
def test_a_sequence_to_sequence_base_is_refused(tmp_path, key):
    with pytest.raises(AtlasError, match=f"{key} is for causal bases.* set {key} to false"):
        train(tmp_path, make_t5(tmp_path / "t5"), lora={"targets": ["q", "v"]}, **{key: True})


def test_a_card_names_what_is_used_and_nothing_else(tiny_base, tmp_path):
    plain = train(tmp_path / "a", tiny_base, max_steps=1)["README.md"].decode()
    free = train(tmp_path / "b", tiny_base, max_steps=1, padding_free=True)["README.md"].decode()
    assert not any(key in plain for key in faster_training.FASTER)
    assert "| padding_free | True |" in free


@pytest.fixture
def liger(monkeypatch):
    """A module of the name and with the table of architectures of liger-kernel."""
    module = types.ModuleType("liger_kernel.transformers.monkey_patch")
    module.MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": None}
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(faster_training, "find_spec", lambda name: name == "liger_kernel")


def test_liger_without_a_gpu_or_not_installed(tiny_base, tmp_path, liger, monkeypatch):
    with pytest.raises(AtlasError, match="liger needs liger-kernel and a GPU"):
        train(tmp_path, tiny_base, liger=True)
    monkeypatch.setattr(faster_training, "find_spec", lambda name: None)
    with pytest.raises(AtlasError, match="liger needs liger-kernel and a GPU"):
        faster_training.check_liger(None, torch.device("cuda"))


def test_liger_and_architectures_that_it_lacks(base_folder, tmp_path, liger, monkeypatch):
    network = load(base_folder, "float32", CPU)
    faster_training.check_liger(network, torch.device("cuda"))
    with monkeypatch.context() as patched:
        patched.setattr(faster_training, "check_liger", lambda *_: None)
        settings = make_trainer(base_folder, tmp_path, make_rows("sft", 4), liger=True).args
    assert settings.use_liger_kernel
    assert not make_trainer(base_folder, tmp_path, make_rows("sft", 4)).args.use_liger_kernel
    network.config.model_type = "mamba"
    with pytest.raises(AtlasError, match="no kernels for the architecture mamba; set liger"):
        faster_training.check_liger(network, torch.device("cuda"))
