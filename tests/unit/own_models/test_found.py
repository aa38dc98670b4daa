from __future__ import annotations

import json
import time

import pytest

from atlas.errors import AtlasError
from atlas.own_models.found import find_models, unused
from atlas.sources import hub
from unit.own_models.folders import adapter


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*typed):
    return find_models(typed, None)


@pytest.mark.parametrize("more", ["<<: [{}]", "[{}]"], ids=["merges", "lists"])
def test_a_card_that_swells_is_read_as_it_stands(here, more):
    """Each line stands for ten of the one before it."""
    lines = ["a0: &a0 {x: 1}"]
    for i in range(12):
        lines.append(f"a{i + 1}: &a{i + 1}\n  {more.format(', '.join([f'*a{i}'] * 10))}")
    adapter(here / "m", card="\n".join(["---", *lines, "base_model: a/b", "---", ""]))
    start = time.process_time()
    (one,) = found("m")
    assert time.process_time() - start < 2
    assert one.card["base_model"] == "a/b"


def test_an_adapter_a_full_model_and_a_folder_of_both(here):
    adapter(here / "all/maths", card="---\nbase_model: a/b\ndatasets: [gsm8k]\n---\n# Maths\n")
    (here / "all/whole").mkdir()
    (here / "all/whole/config.json").write_text('{"model_type": "llama"}')
    (here / "all/notes").mkdir()
    one, two = found("all")
    assert (one.name, one.adapter, one.source, one.subfolder) == ("maths", True, "all", "maths")
    assert one.card == {"base_model": "a/b", "datasets": ["gsm8k"]}
    assert (two.name, two.adapter, two.settings) == ("whole", False, {"model_type": "llama"})
    (alone,) = found("./all/maths")
    assert (alone.where, alone.parent, alone.settings["r"]) == ("./all/maths", "all", 2)


def test_folders_that_say_nothing_lend_the_name_of_the_one_above(here):
    adapter(here / "maths/checkpoint-100/adapter")
    adapter(here / "law/final")
    assert [m.name for m in found("maths/checkpoint-100/adapter", "law/final")] == [
        "maths--checkpoint-100--adapter", "law--final",
    ]  # fmt: skip


def test_models_of_one_name_are_told_apart(here):
    adapter(here / "a/maths")
    adapter(here / "b/maths")
    assert [m.name for m in found("a/maths", "b/maths")] == ["maths", "maths-2"]
    assert unused("x", {"x", "x-2"}) == "x-3"


def test_a_repository_and_the_adapters_in_its_folders(on_hub):
    settings = json.dumps({"peft_type": "LORA"}).encode()
    files = {"adapter_config.json": settings, "adapter_model.safetensors": b""}
    on_hub["alice/law"] = {**files, "README.md": b"---\nbase_model: a/b\n---\n"}
    on_hub["lab/many"] = {f"{sub}/{n}": data for sub in ("x", "y") for n, data in files.items()}
    one, x, y = found("alice/law@v2", "lab/many")
    assert (one.name, one.author, one.card) == ("alice--law", "alice", {"base_model": "a/b"})
    assert [(m.name, m.subfolder, m.where) for m in (x, y)] == [
        ("lab--many--x", "x", "lab/many/x"), ("lab--many--y", "y", "lab/many/y"),
    ]  # fmt: skip


@pytest.mark.parametrize("card", ["no head", "---\n{\n---\n", "---\n- a\n---\n", "---\na: b\n"])
def test_a_card_that_cannot_be_read_says_nothing(here, card):
    adapter(here / "m", card=card)
    assert found("m")[0].card == {}


def test_what_is_no_model_is_told(here):
    (here / "empty").mkdir()
    pickle = adapter(here / "pickle")
    (pickle / "adapter_model.safetensors").rename(pickle / "adapter_model.bin")
    adapter(here / "fine")
    for typed, message in (
        (["empty"], "empty: has no adapter_config.json"),
        (["./nowhere"], "nowhere: there is no such folder"),
        (["a/b/c"], "'a/b/c' is neither a folder nor a repository"),
        (["pickle"], "adapter_model.bin is a pickle, which is refused"),
        (["fine/adapter_config.json"], "is a file; name the folder that holds"),
        (["fine", "fine"], "fine: is named twice"),
        (["a\tb"], r"'a\\tb': a sheet cannot hold such a name"),
    ):
        with pytest.raises(AtlasError, match=message):
            found(*typed)


def test_all_that_cannot_be_read_is_told_together(here):
    adapter(here / "all/fine")
    adapter(here / "all/broken")
    (here / "all/broken/adapter_config.json").write_text("{")
    (adapter(here / "all/pickle") / "adapter_model.safetensors").unlink()
    with pytest.raises(AtlasError) as raised:
        found("all", "./nowhere")
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == [
        "all/broken/adapter_config.json", "all/pickle", "nowhere",
    ]  # fmt: skip


def test_gguf_and_the_folder_of_a_cache_are_told(here):
    (here / "packed").mkdir()
    (here / "packed/m.Q4_K_M.gguf").write_bytes(b"GGUF")
    adapter(here / "models--a--b/snapshots/0123abc")
    for typed, message in (
        (
            "packed",
            r"m\.Q4_K_M\.gguf is GGUF, which is not read: convert it with .*save_pretrained",
        ),
        ("packed/m.Q4_K_M.gguf", r"is a file; m\.Q4_K_M\.gguf is GGUF"),
        ("models--a--b", "it is a folder of a hub's cache: name snapshots/0123abc in it"),
    ):
        with pytest.raises(AtlasError, match=message):
            found(typed)


def test_a_full_model_in_a_folder_of_a_repository(on_hub):
    files = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b""}
    on_hub["lab/full"] = {"README.md": b"", **{f"merged/{n}": data for n, data in files.items()}}
    (one,) = found("lab/full")
    assert (one.where, one.subfolder, one.adapter) == ("lab/full/merged", "merged", False)


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch):
    import huggingface_hub

    class Unreachable:
        def repo_info(self, *_, **__):
            raise ConnectionError("refused")

    monkeypatch.setattr(huggingface_hub, "HfApi", Unreachable)
    with pytest.raises(hub.UnreachableError, match="org/name at main: the hub cannot be reached"):
        found("org/name")
