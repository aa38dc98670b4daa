from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from atlas.activations import continuations as module
from atlas.activations.continuations import (
    Continuations,
    read_continuations,
    sample_continuations,
    text_tokens,
)
from atlas.errors import AtlasError
from atlas.files import read_jsonl, write_jsonl
from unit.conftest import load


def test_a_probe_without_continuations_and_tokens_that_do_not_merge_across(world):
    network = load(world.base_folders["gemma"])
    rows = [{"probe": 2, "index": 0, "text": " a"}]
    continued = Continuations(world.base_folders["gemma"], world.prompts, rows, network)
    assert continued.meaning(network, "x").shape == (1,)
    tokenizer = AutoTokenizer.from_pretrained(world.base_folders["gemma"])
    assert continued.ids == [tokenizer(" a", add_special_tokens=False).input_ids]
    assert continued.prompts[0][0] == tokenizer.bos_token_id


def test_continuations_that_do_not_fit_are_refused(world, tmp_path):
    write_jsonl(tmp_path / "c.jsonl", [{"probe": 3, "index": 0, "text": "x"}])
    with pytest.raises(AtlasError, match="is of probe 3, and there are 3 probes"):
        read_continuations(tmp_path / "c.jsonl", 3)
    rows = [{"probe": 1, "index": 4, "text": ""}]
    network = load(world.base_folders["tiny"])
    with pytest.raises(AtlasError, match="tiny: its tokenizer gives continuation 4 of probe 1 no"):
        Continuations(world.base_folders["tiny"], world.prompts, rows, network)


def sample(world, path, base="tiny", **more):
    settings = {"per_probe": 3, "new_tokens": 5, "seed": 1, **more}
    files = [f for f in world.bases if f.parent.name == base]
    sample_continuations(
        probes=world.probes, base=files, dtype="float32", continuations=path, **settings
    )
    return path


def test_sampling_is_the_same_each_time(world, tmp_path):
    one, two = sample(world, tmp_path / "1"), sample(world, tmp_path / "2")
    assert one.read_bytes() == two.read_bytes()
    rows = read_jsonl(one)
    assert [(r["probe"], r["index"]) for r in rows] == list(itertools.product(range(3), range(3)))
    assert list(rows[0]) == ["probe", "index", "text"]
    assert len({r["text"] for r in rows}) == 9
    assert sample(world, tmp_path / "3", seed=2).read_bytes() != one.read_bytes()
    more = read_jsonl(sample(world, tmp_path / "4", per_probe=4))
    assert [r for r in more if r["index"] < 3] == rows


def test_sampling_is_from_the_distribution_of_the_base(world):
    """Token by token as a plain computation draws them, special tokens left out."""
    for folder in world.base_folders.values():
        network = load(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        text = text_tokens(folder)
        assert text == [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
        prompt = tokenizer(world.prompts[0]).input_ids
        uniform = np.random.default_rng(0).random((4, 6))
        for row, drawn in zip(module._sample(network, text, prompt, uniform), uniform, strict=True):
            ids = list(prompt)
            for u in drawn:
                with torch.inference_mode():
                    logits = network(input_ids=torch.tensor([ids])).logits[0, -1, text]
                below = torch.cumsum(logits.double().softmax(dim=-1), dim=0)
                ids.append(text[int((below <= u).sum())])
            assert row == ids[len(prompt) :]


def test_drawing_gives_each_token_its_share():
    logits = np.log([[0.1, 0.2, 0.3, 0.4]]).repeat(1000, axis=0)
    uniform = (np.arange(1000) + 0.5) / 1000
    drawn = module._draw(logits, np.array([0, 2, 3]), uniform)
    assert np.bincount(drawn, minlength=4).tolist() == [125, 0, 375, 500]
    with pytest.raises(AtlasError, match="NaN or Inf"):
        module._draw(np.array([[np.nan, 0]]), np.array([0, 1]), uniform[:1])
