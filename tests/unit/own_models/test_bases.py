from __future__ import annotations

import json

import pytest

from atlas.errors import AtlasError
from atlas.own_models.bases import Bases
from atlas.own_models.plans import own_pools
from unit.conftest import LLAMA
from unit.own_models.folders import adapter, model, plan


@pytest.fixture
def bases(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda asked=None: Bases(plan(), tmp_path / "cache", asked)


def records(name, **more):
    return model(settings={"base_model_name_or_path": name}, **more)


def a_base(folder, **more):
    folder.mkdir(parents=True)
    settings = {"model_type": "llama", "vocab_size": 100, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps({**settings, **LLAMA, **more}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_a_base_of_the_configuration_is_found_by_every_name_that_it_has(bases):
    for name in (
        "tiny",
        "lab/base",
        "LAB/Base",
        "unsloth/base-bnb-4bit",
        "results/sources/bases/tiny",
    ):
        assert bases().of(records(name)) == "tiny"
    assert bases().of(records("lab/other")) == "other"
    assert bases().entries() == {}


def test_the_card_says_it_where_the_settings_do_not(bases):
    assert bases().of(model(card={"base_model": ["lab/other"]})) == "other"
    assert bases().of(records("/root/gone", card={"base_model": "lab/other"})) == "other"
    # A full model's own config.json names where it was loaded from last: the card comes first.
    full = model(
        adapter=False, settings={"_name_or_path": "lab/base"}, card={"base_model": "lab/other"}
    )
    assert bases().of(full) == "other"


def test_a_base_in_a_folder_becomes_an_entry(bases, tmp_path, monkeypatch):
    a_base(tmp_path / "models/llama", dtype="bfloat16")
    found = bases()
    assert (
        found.of(records("models/llama"))
        == found.of(records("models/llama", source="./n"))
        == "llama"
    )
    # By hand: 100 embeddings of 16, tied; two layers of q, o 16 x 16, k, v 8 x 16, three of 24 x 16,
    # two norms; one norm.
    size = 100 * 16 + 2 * (2 * 256 + 2 * 128 + 3 * 384 + 32) + 16
    monkeypatch.chdir(tmp_path / "models")
    assert bases().of(records("../models/llama")) == "llama"
    assert found.entries() == {"llama": {"source": {"local": "./models/llama"}, "dtype": "bfloat16",
                                         "shards": 1, "billions": float(f"{size / 1e9:.4g}")}}  # fmt: skip


def test_a_base_of_a_hub_becomes_an_entry_once(bases, on_hub, tmp_path):
    folder = a_base(tmp_path / "here")
    on_hub["lab/new.base"] = {
        "config.json": (folder / "config.json").read_bytes(), "model-00001-of-00002.safetensors": b"",
    }  # fmt: skip
    found = bases()
    named = {found.of(records(name)) for name in ("lab/new.base", "lab/base", "lab/new.base")}
    assert named == {"lab--new.base", "tiny"}
    (entry,) = found.entries().values()
    size = found.billions("lab--new.base")
    assert 0 < size < 1e-4  # a tiny one: not rounded to nothing
    assert entry == {
        "source": {"hub": {"repo": "lab/new.base"}},
        "dtype": "float32",
        "shards": 2,
        "billions": size,
    }
    # One that records a quantised copy of it has it for a base when it is asked for, and is called so.
    asked = bases("lab/new.base")
    assert asked.of(records("unsloth/new.base-bnb-4bit")) == "lab--new.base"
    assert "aliases" not in asked.entries()["lab--new.base"]


def test_a_new_base_is_one_under_all_its_names(bases, on_hub, tmp_path, monkeypatch):
    folder = a_base(tmp_path / "here")
    files = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    for repo in ("lab/tiny-1b", "unsloth/tiny-1b", "LAB/Tiny-1B", "unsloth/tiny-1b-bnb-4bit"):
        on_hub[repo] = files
        adapter(tmp_path / repo.replace("/", "-"), repo)
    cached = "/gone/models--lab--tiny-1b/snapshots/0123abc"
    adapter(tmp_path / "cached", cached)
    names = ["unsloth-tiny-1b-bnb-4bit", "unsloth-tiny-1b", "cached", "lab-tiny-1b", "LAB-Tiny-1B"]
    pools = own_pools(names, "mine", plan())
    assert [member.found.source for member in pools.pools["mine"]] == names
    assert {member.base for member in pools.pools["mine"]} == {"lab--tiny-1b"}
    assert list(pools.bases.entries()) == ["lab--tiny-1b"]


def test_a_base_in_the_cache_of_a_hub_is_called_as_its_repository(bases, tmp_path):
    path = str(a_base(tmp_path / "models--lab--new/snapshots/0123abc"))
    found = bases()
    assert found.of(records(path)) == found.of(records("lab/new")) == "lab--new"
    (entry,) = found.entries().values()
    assert (entry["source"], entry["aliases"]) == ({"local": path}, ["lab/new"])


def test_a_base_that_is_gguf_is_told(bases, tmp_path):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/m.gguf").write_bytes(b"GGUF")
    with pytest.raises(AtlasError, match=r"packed: has no model\.safetensors; m\.gguf is GGUF"):
        bases("./packed").of(model())


def test_half_precision_is_read_as_float32_and_weight_files_are_counted(bases, tmp_path):
    folder = a_base(tmp_path / "base", dtype="float16")
    (folder / "model-00001-of-00003.safetensors").write_bytes(b"")
    found = bases(str(folder))
    name = found.of(records("lab/unknown"))
    entry = found.entries()[name]
    assert (entry["dtype"], entry["shards"], entry["aliases"]) == ("float32", 3, ["lab/unknown"])


def test_the_base_that_is_asked_for_is_that_of_all(bases):
    found = bases("tiny")
    assert found.of(records("lab/other")) == found.of(records("/gone")) == "tiny"
    assert found.entries() == {"tiny": {"aliases": ["lab/base", "lab/other"]}}
    with pytest.raises(AtlasError, match="--base: there is no base 'tini'; did you mean 'tiny'"):
        bases("tini").of(records("lab/base"))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (records("unsloth/llama-3-8b-bnb-4bit"), "whose weights are quantised; name the one"),
        (records("./gone"), r"records the base './gone', which is nowhere; name"),
        (model(), "./m: records no base; name the one that it was trained from: --base"),
    ],
)
def test_a_base_that_cannot_be_had_is_told(bases, found, message):
    with pytest.raises(AtlasError, match=message):
        bases().of(found)
