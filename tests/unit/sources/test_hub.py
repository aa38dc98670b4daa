"""The real client of the hub against a stand-in on this machine."""

import hashlib
import json
import os
import sys

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

import programs
from atlas.errors import AtlasError
from atlas.sources import hub
from hub_server import TOKEN, Hub

CALL = """
import hashlib, importlib, json
from pathlib import Path
from atlas.sources import hub
from atlas.errors import AtlasError
def call(module, name):
    return getattr(importlib.import_module(module), name)
cache = Path("cache")
try:
    value = {expression}
    print(json.dumps({{"value": str(value) if isinstance(value, Path) else value}}))
except AtlasError as error:
    print(json.dumps({{"error": str(error)}}))
"""
BASE = (
    "call('atlas.sources.bases', '_from_hub')({'repo': 'org/base', 'revision': 'main'}, cache,"
    " Path('.'))"
)
ADAPTER = (
    "call('atlas.sources.fetched_models', 'bring_adapter')({'hub': {'repo': 'org/adapter',"
    " 'revision': 'main', 'subfolder': %r}}, cache, Path('.'), 1 << 30)"
)
FULL = (
    "[call('atlas.sources.fetched_models', 'fetch_full')(model=name, source={'hub': {'repo':"
    " 'org/full', 'revision': name}}, cache='cache', base=[Path(file) for file in %r], address=[None,"
    " None], sentence='', weight_names=['model.safetensors'], weights=[Path(name,"
    " 'model.safetensors')], config=Path(name, 'config.json'), tokenizer=[Path(name, file) for file"
    " in ('tokenizer.json', 'tokenizer_config.json')], card=Path(name, 'README.md'))"
    " for name in ('early', 'late')]"
)


@pytest.fixture
def server():
    with Hub() as made:
        yield made


@pytest.fixture
def ask(server, tmp_path):
    """Evaluate an expression in a new process that knows this hub; its value or its sentence."""

    def call(expression: str, **extra: str) -> dict:
        command = [sys.executable, "-c", CALL.format(expression=expression)]
        # What asks for files only imports no more than the client of the hub.
        libraries = ["huggingface-hub", *(["torch"] if "call(" in expression else [])]
        done = programs.run(command, cwd=tmp_path, env=server.client(**extra), libraries=libraries)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def test_a_commit_is_recorded_and_reused(server, ask, tmp_path):
    commit = server.commit("org/model", {"config.json": b"{}"})
    assert ask("hub.resolve('org/model', 'main')") == {"value": commit}
    record = tmp_path / "results/provenance/revisions/model--org--model@main.json"
    assert json.loads(record.read_text()) == {
        "repo": "org/model", "revision": "main", "commit": commit,
    }  # fmt: skip
    written = record.stat().st_mtime_ns
    assert ask("hub.resolve('org/model', 'main')") == {"value": commit}
    assert record.stat().st_mtime_ns == written


def test_a_revision_that_is_a_commit_is_not_asked_for(server, ask):
    commit = "0" * 40
    assert ask(f"hub.resolve('org/model', '{commit}')") == {"value": commit}
    assert server.requests == []


@pytest.mark.parametrize("own_tokenizer", [True, False])
def test_models_share_no_settings_with_their_base_or_each_other(
    server, ask, tiny_base, tmp_path, own_tokenizer
):
    """What is one file has one time stamp, and the later job would make the earlier one's newer."""
    files = {file.name: file.read_bytes() for file in tiny_base[1:]}
    if not own_tokenizer:
        del files["tokenizer.json"]
    for name in ("early", "late"):
        server.commit("org/full", files | {"README.md": name.encode()}, revision=name)
        (tmp_path / name).mkdir()
    assert ask(FULL % [str(file) for file in tiny_base]) == {"value": [None, None]}
    settings = [
        tmp_path / name / file.name for name in ("early", "late") for file in tiny_base[1:4]
    ]
    assert {file.stat().st_nlink for file in settings} == {1}
    assert settings[1].read_bytes() == tiny_base[2].read_bytes()


def test_revisions_with_a_slash_and_datasets(server, ask):
    commit = server.commit("org/rows", {"a.parquet": b"x"}, kind="dataset",
                           revision="refs/convert/parquet")  # fmt: skip
    found = ask("hub.resolve('org/rows', 'refs/convert/parquet', 'dataset')")
    assert found == {"value": commit}
    assert ask(f"hub.file_names('org/rows', '{commit}', cache, 'dataset')")["value"] == [
        "a.parquet"
    ]


def test_another_commit_later_is_an_error(server, ask):
    first = server.commit("org/model", {"config.json": b"{}"})
    ask("hub.resolve('org/model', 'main')")
    second = server.commit("org/model", {"config.json": b"{ }"})
    sentence = ask("hub.resolve('org/model', 'main')")["error"]
    assert first in sentence and second in sentence and "set revision" in sentence


def test_files_come_once_and_stay(server, ask):
    commit = server.commit("org/model", {"config.json": b"{}", "model.safetensors": b"0" * 999})
    for name, size in (("config.json", 2), ("model.safetensors", 999)):
        expression = f"hub.fetch('org/model', '{commit}', '{name}', cache).stat().st_size"
        assert ask(expression) == {"value": size}
        asked = len(server.requests)
        assert ask(expression) == {"value": size}
        assert len(server.requests) == asked


def test_offline_everything_fetched_is_still_there(server, ask):
    commit = server.commit("org/model", {"config.json": b"{}", "model.safetensors": b"0"})
    every = (
        "[c := hub.resolve('org/model', 'main'), hub.file_names('org/model', c, cache),"
        " hub.fetch('org/model', c, 'config.json', cache).name]"
    )
    online = ask(every)
    assert online["value"][:2] == [commit, ["config.json", "model.safetensors"]]
    server.stop()
    assert ask(every) == online
    assert ask(every, HF_HUB_OFFLINE="1") == online


@pytest.mark.parametrize("offline", ["0", "1"])
def test_offline_what_is_missing_is_said(server, ask, offline):
    server.stop()
    sentence = ask("hub.resolve('org/model', 'main')", HF_HUB_OFFLINE=offline)["error"]
    assert sentence.startswith("org/model at main: the hub cannot be reached")
    assert "local source" in sentence
    assert "\n" not in sentence


def test_offline_a_missing_file_is_said(server, ask):
    commit = server.commit("org/model", {"config.json": b"{}"})
    expression = f"hub.fetch('org/model', '{commit}', 'config.json', cache)"
    sentence = ask(expression, HF_HUB_OFFLINE="1")["error"]
    assert "org/model/config.json" in sentence and "cannot be reached" in sentence


def test_gated_repositories_need_a_token(server, ask):
    commit = server.commit("org/gated", {"model.safetensors": b"0"}, gated=True)
    expression = f"hub.fetch('org/gated', '{commit}', 'model.safetensors', cache).stat().st_size"
    sentence = ask(expression)["error"]
    assert "gated" in sentence and "accept its terms" in sentence and "HF_TOKEN" in sentence
    assert "gated" in ask(expression, HF_TOKEN="hf_another")["error"]
    assert ask(expression, HF_TOKEN=TOKEN) == {"value": 1}


def test_missing_things_are_named(server, ask):
    commit = server.commit("org/model", {"config.json": b"{}"})
    assert "no such repository" in ask("hub.resolve('org/modle', 'main')")["error"]
    assert "no revision 'v2'" in ask("hub.resolve('org/model', 'v2')")["error"]
    sentence = ask(f"hub.fetch('org/model', '{commit}', 'tokenizer.json', cache)")["error"]
    assert "no such file" in sentence and "tokenizer.json" in sentence


@pytest.mark.parametrize(
    ("error", "kind"),
    [(RuntimeError("CAS client error: request middleware error"), hub.UnreachableError),
     (OSError("Consistency check failed"), hub.UnreachableError),
     (httpx2.ReadTimeout("slow"), hub.UnreachableError),
     (HFValidationError("a name"), AtlasError),
     *((HfHubHTTPError("no", response=httpx2.Response(status, request=httpx2.Request("GET", "http://a"))),
        AtlasError if status in (401, 403, 404, 410) else hub.UnreachableError)
       for status in (401, 403, 404, 408, 410, 429, 500, 503))],
)  # fmt: skip
def test_whose_fault_an_error_of_the_client_is(error, kind):
    """A network that ends is no property of a model, which would be left out for it."""
    assert type(hub.failure(error, "org/model", "main")) is kind


def test_an_interrupted_download_resumes(server, ask):
    data = os.urandom(25 << 20)  # the client writes in pieces of ten megabytes
    commit = server.commit("org/model", {"model.safetensors": data})
    server.drop("model.safetensors", 22 << 20)
    expression = (
        f"hashlib.sha256(hub.fetch('org/model', '{commit}', 'model.safetensors',"
        " cache).read_bytes()).hexdigest()"
    )
    assert ask(expression) == {"value": hashlib.sha256(data).hexdigest()}
    asked = [ranges for path, ranges in server.downloads() if path.startswith("/content/")]
    assert len(asked) == 2 and asked[0] is None
    assert 0 < int(asked[1].removeprefix("bytes=").rstrip("-")) <= 22 << 20


def test_a_pickle_instead_of_safetensors_is_refused(server, ask):
    server.commit("org/adapter", {"adapter_config.json": b"{}", "adapter_model.bin": b"PK"})
    sentence = ask(ADAPTER % None)["error"]
    assert "adapter_model.bin is a pickle" in sentence and "refused" in sentence
    assert not any(path.endswith(".bin") for path, _ in server.downloads())


def test_a_base_of_pickles_is_refused(server, ask):
    server.commit("org/base", {"config.json": b"{}", "pytorch_model.bin": b"PK"})
    sentence = ask(BASE)["error"]
    assert "has no model.safetensors; pytorch_model.bin is a pickle, which is refused" in sentence


def test_an_adapter_in_a_folder_of_its_repository(server, ask, tmp_path):
    files = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"12345"}
    server.commit("org/adapter", {"README.md": b""} | {f"sft/{n}": v for n, v in files.items()})
    sentence = ask(ADAPTER % None)["error"]
    assert "there are adapters in its folders sft: name one of them" in sentence
    assert ask(ADAPTER % "sft")["value"].startswith("Fetched from org/adapter/sft at the commit")
    assert (tmp_path / "adapter_model.safetensors").read_bytes() == b"12345"


def test_a_full_model_that_is_called_an_adapter(server, ask):
    server.commit("org/adapter", {"config.json": b"{}", "model.safetensors": b"1"})
    assert "it is a full model, not an adapter: give it kind: full" in ask(ADAPTER % None)["error"]


def test_the_files_of_an_index_are_the_weights(server, ask, tmp_path):
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
             "model.safetensors.index.json"]  # fmt: skip
    index = json.dumps({"weight_map": {"a": names[0], "b": names[1]}}).encode()
    files = {"config.json": b"{}", names[0]: b"1", names[1]: b"2", names[2]: index}
    server.commit("org/base", {**files, "consolidated.safetensors": b"the same again"})
    assert ask(BASE)["value"][1] == names
    assert not (tmp_path / "consolidated.safetensors").exists()
