from __future__ import annotations

import types

import numpy as np
import pytest
import torch

from atlas.errors import AtlasError
from atlas.files import read_csv, write_jsonl
from atlas.geometry.local_curvature import COLUMNS, local_curvature, measure_curvature
from atlas.geometry.stream_files import STREAMS, USUAL, hook_names
from atlas.networks.tokens import Tokens
from unit.conftest import load

IDS = [[1, 5, 9, 20], [3, 4], [1, 5, 9, 20]]


class Body(torch.nn.Module):
    """Two blocks of functions that are known, in the shape of a network of transformers."""

    def __init__(self, function):
        super().__init__()
        self.config = types.SimpleNamespace(model_type="olmo2")
        block = torch.nn.Module()
        block.mlp = torch.nn.Identity()
        block.forward = lambda x: block.mlp(function(x))
        self.layers = torch.nn.ModuleList([block])

    def forward(self, inputs_embeds, use_cache):
        return self.layers[0](inputs_embeds)


class Network(torch.nn.Module):
    def __init__(self, function, dtype=torch.float64):
        super().__init__()
        self.embedding = torch.nn.Embedding(30, 6, dtype=dtype)
        self.base_model = Body(function)

    def get_input_embeddings(self):
        return self.embedding


def test_an_affine_network_is_flat():
    torch.manual_seed(0)
    matrix = torch.randn(6, 6, dtype=torch.float64)
    found = local_curvature(Network(lambda x: x @ matrix + 1), IDS, 1)
    assert found.hooks == hook_names(1)
    assert found.curvature.shape == found.sensitivity.shape == (3, 2)
    assert np.abs(found.curvature).max() < 1e-8
    # Of a rotation, the response is the share of the perturbation that the last token gets.
    turn = torch.linalg.qr(matrix)[0]
    found = local_curvature(Network(lambda x: x @ turn), [[1]], 1)
    assert found.sensitivity == pytest.approx(np.ones((1, 2)))


@pytest.mark.parametrize("radius", [0.001, 0.01, 0.1])
def test_a_quadratic_network(radius):
    """f = |x|^2 of the whole prompt: f(x + e) + f(x - e) - 2 f(x) = 2 |e|^2, at any radius."""

    def function(x):
        return (x**2).sum(dim=(1, 2), keepdim=True).expand(-1, x.shape[1], 1)

    found = local_curvature(Network(function), IDS, 2, radius=radius)
    assert found.curvature == pytest.approx(np.full((3, 2), 2.0), rel=1e-6)


def test_a_real_network(base_folder):
    network = load(base_folder)
    found = local_curvature(network, IDS, 3, directions=6)
    assert found.hooks == hook_names(2)
    assert found.curvature.shape == (3, 4)
    assert (found.curvature > 0).all()
    again = local_curvature(network, IDS, 3, directions=6)
    assert (again.curvature == found.curvature).all()
    other = local_curvature(network, IDS, 4, directions=6)
    assert (other.curvature != found.curvature).all()
    # The same in float64: the rounding of float32 is not what is measured.
    exact = local_curvature(network.double(), IDS, 3, directions=6)
    np.testing.assert_allclose(found.curvature, exact.curvature, rtol=0.05)
    np.testing.assert_allclose(found.sensitivity, exact.sensitivity, rtol=1e-3)


def test_the_streams_that_are_asked_for(base_folder):
    """The embeddings answer to their own perturbation, where the last token got a share of it."""
    network = load(base_folder).double()
    every, usual = (
        local_curvature(network, IDS, 3, directions=6, wanted=w) for w in (STREAMS, USUAL)
    )
    assert every.hooks == hook_names(2, STREAMS)
    for i, hook in enumerate(usual.hooks):
        assert (every.sensitivity[:, every.hooks.index(hook)] == usual.sensitivity[:, i]).all()
    assert np.abs(every.curvature[:, 0]).max() < 1e-6
    # What goes into the second block is what comes out of the first.
    places = [every.hooks.index(f"blocks.{at}") for at in ("0.hook_resid_post", "1.hook_resid_pre")]
    assert (every.curvature[:, places[0]] == every.curvature[:, places[1]]).all()


def test_directions_in_small_batches(base_folder, monkeypatch):
    network = load(base_folder).double()
    whole = local_curvature(network, IDS, 5, directions=7)
    monkeypatch.setattr("atlas.geometry.local_curvature.BATCH_TOKENS", 17)
    parts = local_curvature(network, IDS, 5, directions=7)
    np.testing.assert_allclose(parts.curvature, whole.curvature, rtol=1e-5)


def test_what_cannot_be_measured(base_folder):
    with pytest.raises(AtlasError, match="which bfloat16 cannot resolve; load the network in"):
        local_curvature(load(base_folder).bfloat16(), IDS, 1)
    with pytest.raises(AtlasError, match="a response of the network is NaN or Inf"):
        local_curvature(Network(lambda x: x / 0), IDS, 1)


def test_the_file(tiny_base, mixed_pool, tmp_path):
    """A row per hook and prompt, of the model and not of its base."""
    texts = ["Two and two?", "Name a colour.", "Say it."]
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": text} for text in texts])
    for name, model in (("base", []), ("full", mixed_pool["full"])):
        measure_curvature(
            prompts=tmp_path / "prompts.jsonl", base=tiny_base, model=model, base_names=["tiny"],
            most=2, directions=3, radius=0.01, seed=7, curvature=tmp_path / f"{name}.csv",
        )  # fmt: skip
        rows = read_csv(tmp_path / f"{name}.csv")
        assert tuple(rows[0]) == COLUMNS
        tokens = Tokens(tiny_base[0].parent)
        ids = [tokens.prompt(text) for text in texts[:2]]
        network = load((model or tiny_base)[0].parent)
        expected = local_curvature(network, ids, 7, directions=3)
        assert len(rows) == len(expected.hooks) * 2
        for row in rows:
            hook = expected.hooks.index(f"blocks.{row['layer']}.hook_{row['hook']}")
            number = int(row["prompt"])
            assert int(row["tokens"]) == len(ids[number])
            assert float(row["local_curvature"]) == pytest.approx(
                expected.curvature[number, hook], rel=1e-3
            )
            assert float(row["sensitivity"]) == pytest.approx(
                expected.sensitivity[number, hook], rel=1e-5
            )
    one, other = (read_csv(tmp_path / f"{name}.csv") for name in ("base", "full"))
    assert [r["sensitivity"] for r in one] != [r["sensitivity"] for r in other]
