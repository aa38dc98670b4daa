from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import PeftModel

from atlas.errors import AtlasError
from atlas.files import read_csv
from atlas.geometry.weight_changes import (
    COLUMNS,
    changed,
    comparison_weights,
    measure_weights,
    tensor_row,
)
from unit.conftest import load, make_adapter

SPACING = 2.0**-8  # between bfloat16 values from 0.5 to 1, 1 to 2 twice of it


def measured(base, model, folder, dimensions=3):
    file = folder / "weights.csv"
    measure_weights(base=base, model=model, dimensions=dimensions, weights=file)
    return read_csv(file)


def scope(rows, wanted, key="tensor"):
    return {row[key]: row for row in rows if row["scope"] == wanted}


def test_changes_below_rounding_are_none():
    weight = torch.tensor([1.0, 1.0, 1.0, 0.75, -0.75, 0.0, 0.0])
    # Half a spacing up is a tie, which goes to the even value: that of 1.0 itself.
    delta = torch.tensor([0.9 * SPACING, 1.1 * SPACING, SPACING, 0.4 * SPACING, -0.6 * SPACING,
                          0.0, 1e-30])  # fmt: skip
    assert changed(weight, delta).tolist() == [False, True, False, False, True, False, True]


def test_a_change_is_seen_by_the_sum_and_not_by_itself():
    """The base's own digits beyond bfloat16 decide whether a small change is seen."""
    weight = torch.tensor([1.0 + 0.9 * SPACING, 1.0])
    assert changed(weight, torch.tensor([0.2 * SPACING, 0.2 * SPACING])).tolist() == [True, False]


def bits(tensor):
    return tensor.bfloat16().view(torch.int16).numpy()


def test_a_changed_weight_is_another_bfloat16_value():
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(4000, generator=generator)
    delta = 0.003 * torch.randn(4000, generator=generator)
    found = changed(weight, delta).numpy()
    assert 0.2 < found.mean() < 0.9
    assert (found == (bits(weight) != bits(weight + delta))).all()


def test_the_tensors_of_a_model_by_hand():
    weight = torch.eye(4).repeat(1, 2) * torch.tensor([4.0, 3.0, 2.0, 1.0, 4.0, 3.0, 2.0, 1.0])
    delta = torch.zeros(4, 8)
    delta[0, 0] = 1.0
    row = tensor_row("model.layers.3.mlp.up_proj.weight", weight, delta, 2)
    assert (row["module"], row["layer"], row["weights"], row["changed"]) == ("up_proj", "3", 32, 1)
    assert row["changed_share"] == 1 / 32
    assert row["relative_change"] == pytest.approx(1 / np.sqrt(60))
    # Its leading left directions are the first two axes before and after; the right one turns.
    assert row["left_angle_max_degrees"] == pytest.approx(0, abs=1e-6)
    turn = np.degrees(np.arccos((5 * 4 + 4 * 4) / (np.sqrt(41) * np.sqrt(32))))
    assert row["right_angle_max_degrees"] == pytest.approx(turn)
    assert row["right_angle_mean_degrees"] == pytest.approx(turn / 2)
    drift = (np.sqrt(41) - np.sqrt(32)) / np.sqrt(32 + 18)
    assert row["spectral_drift"] == pytest.approx(drift)
    # Half of its one column lies along the leading right direction, (1, 0, 0, 0, 1, ...) / sqrt 2.
    assert row["principal_energy"] == pytest.approx(0.5)
    assert row["principal_energy_by_chance"] == 4 / 32
    # A tenth of 32 weights, ties among them: those of 4.
    assert row["principal_weights"] == 1
    assert row["principal_weights_by_chance"] == pytest.approx(4 / 32)


def test_norms_and_embeddings_have_no_directions():
    for name, weight in (("model.norm.weight", torch.ones(8)),
                         ("model.embed_tokens.weight", torch.ones(9, 8))):  # fmt: skip
        row = tensor_row(name, weight, 0.5 * weight[:8], 2)
        assert row["changed"] == row["weights"] - (len(weight) - 8) * 8
        assert (row["matrices"], row.get("dimensions")) == (0, None)


def plain(weights, base):
    """Shares of changed weights and spectral drifts of whole networks, by torch alone."""
    found = {}
    for name, old in base.items():
        new = weights[name]
        row = {"changed_share": np.mean(bits(old) != bits(new)),
               "change_norm": float((new - old).norm())}  # fmt: skip
        if old.dim() == 2 and "layers" in name:
            one, two = (torch.linalg.svdvals(w.double())[:3] for w in (old, new))
            row["spectral_drift"] = float((two - one).norm() / one.norm())
        found[name] = row
    return found


@pytest.mark.parametrize("kind", ["lora4", "lora8", "ia3", "full"])
def test_models_of_every_kind_are_merged_as_peft_merges_them(
    kind, tiny_base, base_folder, mixed_pool, tmp_path
):
    files = mixed_pool[kind]
    if kind == "full":
        network = load(files[0].parent)
    else:
        network = PeftModel.from_pretrained(load(base_folder), files[0].parent).merge_and_unload()
    expected = plain(network.state_dict(), load(base_folder).state_dict())
    rows = measured(tiny_base, files, tmp_path)
    tensors = scope(rows, "tensor")
    assert set(tensors) == set(expected)
    for name, row in tensors.items():
        for key, value in expected[name].items():
            # A merged weight may round the other way where it lies between two bfloat16 values.
            assert float(row[key]) == pytest.approx(value, rel=1e-3, abs=2e-3 * (value > 0))
    (whole,) = scope(rows, "model", "module").values()
    assert whole["model"] == kind
    assert int(whole["weights"]) == sum(p.numel() for p in load(base_folder).parameters())
    share = sum(int(row["changed"]) for row in tensors.values()) / int(whole["weights"])
    assert float(whole["changed_share"]) == pytest.approx(share)
    drifts = [row.get("spectral_drift", 0) for row in expected.values() if "spectral_drift" in row]
    assert float(whole["spectral_drift"]) == pytest.approx(np.mean(drifts), rel=1e-3)
    assert int(whole["matrices"]) == len(drifts) == 14
    targets = {"lora4": {"q_proj", "v_proj"}, "lora8": {"o_proj", "up_proj"},
               "ia3": {"k_proj", "v_proj", "down_proj"}}  # fmt: skip
    modules = scope(rows, "module", "module")
    touched = {name for name, row in modules.items() if int(row["changed"])}
    assert touched == targets.get(kind, set(modules))
    for row in modules.values():
        matrix = int(row["matrices"]) > 0
        assert bool(row["spectral_drift"]) == matrix
        assert bool(row["principal_energy"]) == (matrix and row["module"] in touched)


def test_a_model_that_is_the_base_changed_nothing(tiny_base, base_folder, tmp_path):
    load(base_folder).save_pretrained(tmp_path / "same")
    files = [tmp_path / "same" / name for name in ("config.json", "model.safetensors")]
    rows = measured(tiny_base, files, tmp_path)
    assert {row["changed"] for row in rows} == {"0"}
    assert {float(row["change_norm"]) for row in rows} == {0.0}
    matrices = [row for row in rows if row["matrices"] != "0"]
    assert {float(row["left_angle_max_degrees"]) for row in matrices} == {0.0}
    assert {row["principal_energy"] for row in rows} == {""}


def test_an_adapter_of_zeros_changed_nothing(tiny_base, base_folder, tmp_path):
    from peft import LoraConfig, get_peft_model

    # As LoRA begins: B is zero.
    config = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(load(base_folder), config).save_pretrained(tmp_path / "zero")
    files = [tmp_path / "zero" / n for n in ("adapter_config.json", "adapter_model.safetensors")]
    rows = measured(tiny_base, files, tmp_path)
    assert {row["changed"] for row in rows} == {"0"}
    assert {row["principal_weights"] for row in rows} == {""}


def test_a_model_without_changes_of_weights_is_refused(tiny_base, base_folder, tmp_path):
    from peft import PromptTuningConfig

    config = PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
    files = make_adapter(base_folder, tmp_path / "prompts", config, 1)
    with pytest.raises(AtlasError, match="prompt tuning changes no weight of the base"):
        measured(tiny_base, files, tmp_path)


def test_the_models_of_a_comparison_are_joined(tiny_base, mixed_pool, tmp_path):
    files, rows = [], []
    for name in ("lora4", "full"):
        folder = tmp_path / name
        folder.mkdir()
        rows += measured(tiny_base, mixed_pool[name], folder)
        files.append(folder / "weights.csv")
    comparison_weights(measured=files, weights=tmp_path / "all.csv")
    assert read_csv(tmp_path / "all.csv") == rows
    assert list(rows[0]) == list(COLUMNS)
    assert {row["model"] for row in rows} == {"lora4", "full"}
