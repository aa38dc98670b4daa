"""Models of every kind, against PEFT and transformers on a fresh base."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atlas.activations import last_tokens
from atlas.activations.generation import greedy
from atlas.activations.last_tokens import Probe
from atlas.errors import AtlasError
from atlas.networks.architectures import blank
from atlas.networks.named_weights import NamedWeights, changes, own_tensors, unchanged
from atlas.networks.shards import applied, check_model, read_model
from atlas.networks.swap import load_base
from atlas.networks.tokens import Tokens
from unit.networks.kinds import make_base
from unit.networks.model_kinds import EMBEDDED, REFUSED

PROMPTS = ["Describe it.", "Below is an instruction."]
NEW_TOKENS = 2


@dataclass
class Base:
    """A base in memory, as a shard has it, and what it was before any model."""

    folder: Path
    network: Any = field(init=False)

    def __post_init__(self) -> None:
        self.network = load_base(self.folder, "float32", torch.device("cpu"), seq2seq=True)
        self.blank = blank(self.folder)
        self.weights = NamedWeights(sorted(self.folder.iterdir()))
        self.tokens = Tokens(self.folder)
        self.alone = Probe(self.folder, PROMPTS, self.network)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(last_tokens, "SMALL", 0)
            self.together = Probe(self.folder, PROMPTS, self.network)
        self.before = self.alone.last_token(self.network, "base")
        self.texts(self.network)
        self.state = self._state()

    def _state(self) -> dict[str, Any]:
        modules = {
            name: (type(m), id(m), len(m._forward_hooks), len(m._forward_pre_hooks))
            for name, m in self.network.named_modules()
        }
        tensors = {name: (id(t), t.data_ptr()) for name, t in self.network.named_parameters()}
        values = {name: t.clone() for name, t in self.network.state_dict().items()}
        whole = {name: t.clone() for name, t in self.weights.network().state_dict().items()}
        config = copy.deepcopy(self.network.config.to_dict())
        return {"same": (modules, tensors, config), "values": values, "of weights": whole}

    def assert_untouched(self) -> None:
        now = self._state()
        assert now["same"] == self.state["same"]
        for key in ("values", "of weights"):
            assert now[key].keys() == self.state[key].keys()
            assert all(torch.equal(now[key][n], t) for n, t in self.state[key].items())

    def texts(self, network: Any) -> list[str]:
        # One by one: with virtual tokens, padding would stand between them and the text.
        return [greedy(network, self.tokens, [ids], NEW_TOKENS)[0] for ids in self.alone.ids[1:]]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Gives a base by its name; each is made once."""
    folder, made = tmp_path_factory.mktemp("bases"), {}

    def base(name):
        if name not in made:
            make_base(folder / name, name)
            made[name] = Base(folder / name)
        return made[name]

    return base


def written(kind, base, folder):
    """Files of a model of some kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.make(base.folder, folder)
    return sorted(file for file in folder.iterdir() if file.is_file())


def read(files):
    return read_model(files, {"name": "base", "weights_sha256": "x"}, ["lab/base"])


@torch.inference_mode()
def by_its_library(reference, base):
    """Activations, and texts where the class writes some; one probe at a time."""
    rows, texts = [], []
    for ids in base.alone.ids:
        tokens = torch.tensor([ids])
        if base.network.config.is_encoder_decoder:
            start = torch.zeros(1, 1, dtype=torch.long)
            found = reference(input_ids=tokens, decoder_input_ids=start, output_hidden_states=True)
            rows.append(found.decoder_hidden_states[-1][0, 0])
        else:
            found = reference(input_ids=tokens, output_hidden_states=True, use_cache=False)
            rows.append(found.hidden_states[-1][0, -1])
        if len(rows) > 1 and hasattr(reference, "lm_head") and hasattr(reference, "generate"):
            output = reference.generate(
                input_ids=tokens, attention_mask=torch.ones_like(tokens), do_sample=False,
                max_new_tokens=NEW_TOKENS, pad_token_id=base.tokens.padding,
            )  # fmt: skip
            seq2seq = base.network.config.is_encoder_decoder
            texts.append(base.tokens.decode(output[0, 0 if seq2seq else len(ids) :].tolist()))
    return torch.stack(rows).float().numpy(), texts


def merged_minus_base(reference, base, called):
    """DW by its name in the base, as the library merges it; of the tokens that both have."""
    if hasattr(reference, "merge_and_unload"):
        reference = reference.merge_and_unload()
    own, old = own_tensors(reference), own_tensors(base.weights.network())
    found = {}
    for name, tensor in own.items():
        name = called[1] + name.removeprefix(called[0]) if name.startswith(called[0]) else name
        if name in old and tensor.is_floating_point() and tensor.shape[1:] == old[name].shape[1:]:
            rows = min(len(tensor), len(old[name]))
            found[name] = tensor[:rows].float() - old[name][:rows].float()
    return {name: delta for name, delta in found.items() if delta.any()}


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_model_computes_as_its_library_does(name, bases, tmp_path):
    kind = EMBEDDED[name]
    base = bases(kind.base)
    files = written(kind, base, tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = kind.reference(base.folder, tmp_path / "model")
    expected, texts = by_its_library(reference, base)
    model = read(files)
    check_model(base.blank, model)
    with applied(base.network, model) as network:
        found = base.alone.last_token(network, name)
        padded = base.together.last_token(network, name)
        written_texts = base.texts(network)
    largest = abs(expected - base.before).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * largest)
    np.testing.assert_allclose(padded, expected, rtol=0, atol=3e-6 * abs(expected).max())
    assert not texts or written_texts == texts
    if kind.unchanged:
        assert kind.unchanged in unchanged(files)
    else:
        assert not unchanged(files)
        if name != "a bias of B":  # PEFT does not merge it
            compare(
                dict(changes(files, base.weights)), merged_minus_base(reference, base, kind.called)
            )
    base.assert_untouched()


def compare(found, expected):
    largest = max(float(delta.abs().max()) for delta in expected.values())
    for name in found.keys() | expected.keys():
        one, two = (d.get(name, torch.zeros(())) for d in (found, expected))
        assert float((one - two).abs().max()) <= 1e-5 * largest, name


def test_there_is_something_to_compare(bases):
    """What is compared above is not nothing."""
    assert len(EMBEDDED) > 150
    assert abs(bases("llama").before).max() > 1


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_is_refused_in_a_sentence(name, bases, tmp_path):
    kind = REFUSED[name]
    base = bases(kind.base)
    files = written(kind, base, tmp_path / "its-name")
    with pytest.raises(AtlasError, match=f"its-name.*{kind.refused}") as raised, applied(
        base.network, read(files)
    ) as network:  # fmt: skip
        base.alone.last_token(network, name)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith(".")
    if kind.late:
        check_model(base.blank, read(files))
    else:
        with pytest.raises(AtlasError, match=f"its-name.*{kind.refused}"):
            check_model(base.blank, read(files))
    base.assert_untouched()


def test_a_bias_beside_b_has_no_place_in_the_weights(bases, tmp_path):
    kind = EMBEDDED["a bias of B"]
    base = bases(kind.base)
    files = written(kind, base, tmp_path / "its-name")
    with pytest.raises(AtlasError, match="its-name: PEFT cannot merge this LORA adapter"):
        list(changes(files, base.weights))


@pytest.mark.parametrize("name", ["dora", "shira", "frod", "p-tuning", "grown, tied", "from pissa"])
def test_what_came_before_leaves_no_mark(name, bases, tmp_path):
    kind = EMBEDDED[name]
    base = bases(kind.base)
    model = read(written(kind, base, tmp_path / "model"))
    rows = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.random.get_rng_state()
        with applied(base.network, model) as network:
            rows.append(base.alone.last_token(network, name).tobytes())
        assert torch.equal(torch.random.get_rng_state(), state)
    assert rows[0] == rows[1]


MIXED = ("lora", "rslora", "dora", "embeddings", "grown", "ia3", "loha", "oft", "prompt", "from pissa",
         "full, rope_theta", "merged: dora")  # fmt: skip


def test_the_order_of_a_mixed_pool_changes_no_byte(bases, tmp_path):
    base = bases("llama")
    models = {}
    for number, name in enumerate(MIXED):
        assert EMBEDDED[name].base == "llama"
        models[name] = read(written(EMBEDDED[name], base, tmp_path / str(number)))
    rows = []
    for order in (MIXED, MIXED[::-1]):
        found = {}
        for name in order:
            with applied(base.network, models[name]) as network:
                found[name] = base.together.last_token(network, name).tobytes()
        rows.append(found)
    assert rows[0] == rows[1]
    base.assert_untouched()
