from __future__ import annotations

import itertools
import json
import shutil
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
import torch
from peft import LoraConfig, PeftModel
from peft.tuners.tuners_utils import _ExcludedModule, check_target_module_exists
from safetensors.torch import load_file, save_file

from atlas.errors import AtlasError
from atlas.networks.swap import adapter_applied
from atlas.weights import adapters
from atlas.weights.adapted_module import AdaptedModule
from atlas.weights.adapters import (
    Adapter,
    PeftAdapter,
    _refuse_untold,
    check_fits,
    load_adapter,
    load_plain,
    merged,
    write_adapter,
)
from atlas.weights.base_names import check_base
from atlas.weights.ia3 import Ia3Module
from atlas.weights.lora import LoraModule
from atlas.weights.tensors import Weights
from unit.conftest import load, make_ia3, make_lora


@pytest.fixture
def copy(mixed_pool, tmp_path):
    """A function that copies an adapter of the pool, to be spoilt."""

    def make(name="lora4", tensors=None, **settings):
        folder = tmp_path / "spoilt"
        shutil.copytree(mixed_pool[name][0].parent, folder, dirs_exist_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps({**config, **settings}))
        if tensors:
            found = load_file(folder / "adapter_model.safetensors")
            save_file(tensors(found), folder / "adapter_model.safetensors")
        return [folder / "adapter_config.json", folder / "adapter_model.safetensors"]

    return make


@pytest.fixture(scope="module")
def base_weights(tiny_base):
    return Weights(tiny_base[-1:])


def test_lora_delta_by_hand():
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [5.0]])
    module = LoraModule(a, b, 0.5)
    assert module.delta(None).tolist() == [[1.5, 3.0], [2.5, 5.0]]
    assert module.rows(1, 2).delta(None).tolist() == [[2.5, 5.0]]


def test_ia3_delta_by_hand():
    factors, weight = torch.tensor([[2.0], [3.0]]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    by_rows, by_columns = Ia3Module(factors, False), Ia3Module(factors.T, True)
    assert by_rows.delta(weight).tolist() == [[1.0, 2.0], [6.0, 8.0]]
    assert by_columns.delta(weight).tolist() == [[1.0, 4.0], [3.0, 8.0]]
    assert by_rows.rows(1, 2).delta(weight[1:]).tolist() == [[6.0, 8.0]]
    assert by_columns.rows(1, 2).delta(weight[1:]).tolist() == [[3.0, 8.0]]


@dataclass(frozen=True)
class RowModule(AdaptedModule):
    """A family of its own: what is added to each element of a row."""

    shift: torch.Tensor

    NAME = "Row"
    PART = r"row_(shift)"
    NEEDS_WEIGHT = False
    SETTINGS = frozenset({"factor"})

    @classmethod
    def read(cls, name, parts, config, where):
        return cls(parts["shift"] * config["factor"])

    def misfit(self, shape):
        return None if len(self.shift) == shape[0] else (len(self.shift),)

    def delta(self, weight):
        return self.shift[:, None].expand(-1, 16)

    def rows(self, first, after):
        return RowModule(self.shift[first:after])

    def attach(self, module):
        return module.register_forward_hook(
            lambda _, inputs, output: output + inputs[0].sum(-1, keepdim=True) * self.shift
        )


def test_a_new_family_is_a_class_and_its_place(base_folder, base_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(adapters, "FAMILIES", (*adapters.FAMILIES, RowModule))
    module = "model.layers.1.self_attn.q_proj"
    tensors = {f"base_model.model.{module}.row_shift": torch.arange(16.0) / 50}
    files = [tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"]
    files[0].write_text(json.dumps({"peft_type": "ROW", "factor": 0.5}))
    save_file(tensors, files[1])
    adapter = load_adapter(files)
    found = merged(base_weights, adapter)
    change = found[f"{module}.weight"] - base_weights[f"{module}.weight"]
    torch.testing.assert_close(change, (torch.arange(16.0) / 100)[:, None].expand(-1, 16))
    network, reference = load(base_folder), load(base_folder)
    reference.load_state_dict(found)
    ids = torch.tensor([[5, 80, 33]])
    with torch.inference_mode(), adapter_applied(network, adapter):
        torch.testing.assert_close(network(ids).logits, reference(ids).logits)
    save_file({"score": torch.ones(1)}, files[1])
    assert isinstance(load_adapter(files), PeftAdapter)


KINDS = {
    "lora": lambda base, folder: make_lora(base, folder, 4, ["q_proj", "down_proj"], 1),
    "rslora": lambda base, folder: make_lora(base, folder, 4, ["q_proj"], 2, use_rslora=True),
    "patterns": lambda base, folder: make_lora(
        base, folder, 4, ["q_proj", "v_proj"], 3,
        rank_pattern={"v_proj": 2}, alpha_pattern={"layers.1.self_attn.q_proj": 5},
    ),
    "ia3": lambda base, folder: make_ia3(base, folder, 4),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_what_peft_merges(base_folder, base_weights, tmp_path, kind):
    adapter = load_adapter(KINDS[kind](base_folder, tmp_path / "m"))
    reference = PeftModel.from_pretrained(load(base_folder), tmp_path / "m").merge_and_unload()
    found = merged(base_weights, adapter)
    changed = 0
    for name, tensor in reference.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)
        changed += not torch.equal(found[name], base_weights[name])
    assert changed == len(adapter.modules)


def test_merged_rounds_once(base_folder, mixed_pool, base_weights, tmp_path):
    half = {name: base_weights[name].bfloat16() for name in base_weights}
    save_file(half, tmp_path / "half.safetensors")
    adapter = load_adapter(mixed_pool["lora4"])
    found = merged(Weights([tmp_path / "half.safetensors"]), adapter)
    name = "model.layers.0.self_attn.q_proj"
    part = adapter.modules[name]
    exact = half[f"{name}.weight"].double() + 4.0 * (part.b.double() @ part.a.double())
    assert found[f"{name}.weight"].dtype == torch.bfloat16
    torch.testing.assert_close(found[f"{name}.weight"], exact.bfloat16(), rtol=2**-8, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"peft_type": None}, "names no peft_type"),
        ({"r": 5}, r"has the rank 4 .*configuration says 5"),
    ],
)
def test_what_cannot_be_applied_is_refused(copy, settings, message):
    with pytest.raises(AtlasError, match=f"spoilt.*: .*{message}"):
        load_adapter(copy(**settings))


@pytest.mark.parametrize(
    "settings",
    [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}, {"task_type": "SEQ_CLS"},
     {"peft_type": "IA3"}, {"init_lora_weights": "pissa"}, {"a_later_setting": 1}],
)  # fmt: skip
def test_what_peft_applies(copy, settings):
    assert isinstance(load_adapter(copy()), Adapter)
    assert isinstance(load_adapter(copy(**settings)), PeftAdapter)
    with pytest.raises(AtlasError, match="spoilt: is no plain LoRA or IA3, and no; merge it"):
        load_plain(copy(**settings), "no")


def test_tensors_that_do_not_belong(copy):
    with pytest.raises(AtlasError, match="has only one of lora_A and lora_B"):
        load_adapter(copy(tensors=lambda t: dict(sorted(t.items())[1:])))
    with pytest.raises(AtlasError, match="has no tensors"):
        load_adapter(copy(tensors=lambda t: {}))
    with pytest.raises(AtlasError, match="has NaN or Inf"):
        load_adapter(copy(tensors=lambda t: {k: v * float("inf") for k, v in t.items()}))


def test_missing_and_pickled_files(copy):
    files = copy()
    with pytest.raises(AtlasError, match=r"has a file adapter_model\.safetensors"):
        load_adapter(files[:1])
    torch.save({"x": torch.ones(1)}, files[1])
    with pytest.raises(AtlasError, match="a pickle"):
        load_adapter(files)


def test_shapes_of_another_base(mixed_pool, base_weights):
    shapes = {name: base_weights.shape(name) for name in base_weights}
    for name in ("lora4", "lora8", "ia3"):
        adapter = load_adapter(mixed_pool[name])
        check_fits(adapter, shapes)
        for module in adapter.modules:
            wide = {**shapes, f"{module}.weight": (99, 99)}
            with pytest.raises(AtlasError, match=f"{name}: {module} is made for .*another base"):
                check_fits(adapter, wide)
        less = {k: v for k, v in shapes.items() if k != f"{module}.weight"}
        with pytest.raises(AtlasError, match=f"{name}: the base has no module {module}"):
            check_fits(adapter, less)


BASE = {"name": "tiny", "weights_sha256": "ab" * 32}


def test_another_base_by_digest_then_by_name(mixed_pool):
    from dataclasses import replace

    adapter = load_adapter(mixed_pool["lora4"])

    def check(digest=None, name=None):
        metadata = {"base_sha256": digest} if digest else {}
        config = {**adapter.config, "base_model_name_or_path": name}
        check_base(replace(adapter, metadata=metadata, config=config), BASE, ["tiny", "Org/Tiny"])

    check("ab" * 32, "org/other")  # the digest is stronger than the name
    check(None, "org/tiny")
    check(None, "/home/somebody/models/other")
    check(None, None)
    with pytest.raises(AtlasError, match="lora4: was trained from a base with the digest cdcdcd"):
        check("cd" * 32, "org/tiny")
    with pytest.raises(
        AtlasError, match=r"records the base org/other, .*`aliases: \[org/other\]` to bases\.tiny"
    ):
        check(None, "org/other")


def test_write_adapter_is_canonical_and_loads(base_folder, mixed_pool, tmp_path):
    config, weights = mixed_pool["lora4"]
    tensors = load_file(weights)
    settings = {**json.loads(config.read_text()), "target_modules": {"v_proj", "q_proj"}}
    made = []
    for name in "ab":
        (tmp_path / name).mkdir()
        files = [tmp_path / name / f for f in ("adapter_model.safetensors", "adapter_config.json")]
        tensors, settings = dict(reversed(tensors.items())), dict(reversed(settings.items()))
        write_adapter(*files, tensors, settings, {"base_sha256": "x"})
        made.append([file.read_bytes() for file in files])
    assert made[0] == made[1]
    assert load_adapter(files).metadata["base_sha256"] == "x"
    assert json.loads(files[1].read_text())["target_modules"] == ["q_proj", "v_proj"]
    reference = PeftModel.from_pretrained(load(base_folder), tmp_path / "a").state_dict()
    for name, tensor in tensors.items():
        short = name.replace(".weight", ".default.weight")
        assert torch.equal(reference[short], tensor)


def test_write_adapter_refuses_nan(tmp_path):
    with pytest.raises(AtlasError, match="the trained adapter: the tensor x has NaN"):
        write_adapter(tmp_path / "w", tmp_path / "c", {"x": torch.tensor([float("nan")])}, {}, {})
    assert not (tmp_path / "w").exists()


NAMES = ("model.layers.0.self_attn.q_proj", "model.layers.11.mlp.down_proj", "lm_head", "h.1.attn.c_attn",
         "layers.1.self_attn.q_proj", "model.vision_tower.layers.1.self_attn.q_proj")  # fmt: skip
CHOICES = {
    "target_modules": [["q_proj"], ["self_attn.q_proj", "proj"], ["model.layers.0.self_attn.q_proj",
                       "lm_head"], r".*(q_proj|attn)", ["c_attn", "down_proj"]],
    "exclude_modules": [None, ["q_proj"], ["layers.0.self_attn.q_proj"], r".*vision.*"],
    "layers_to_transform": [None, [], [1], 1, [0, 11]],
    "layers_pattern": [None, "layers", ["h", "layers"], ["nope"]],
}  # fmt: skip


def test_weights_that_peft_would_leave_out_are_refused():
    """For each setting and each name, as PEFT asks whether a module gets an adapter."""
    told = dict.fromkeys((True, False), 0)
    for values in itertools.product(*CHOICES.values()):
        config = dict(zip(CHOICES, values, strict=True))
        try:
            asked = LoraConfig(**config)
        except ValueError:  # layers of a pattern
            continue
        for name in NAMES:
            found = check_target_module_exists(asked, name)
            expected = bool(found) and not isinstance(found, _ExcludedModule)
            with nullcontext() if expected else pytest.raises(AtlasError, match="PEFT leaves them"):
                _refuse_untold("m", config, [name])
            told[expected] += 1
    assert min(told.values()) > 300
