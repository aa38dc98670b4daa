"""Uploads by the real client to a stand-in of the hub on this machine."""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

import pytest

import programs
from atlas.configuration.config import Config
from atlas.errors import AtlasError
from atlas.job import statements
from atlas.plan.building import build
from atlas.plan.checks import check_pushes
from hub_server import READ_TOKEN, TOKEN, Hub
from micro import micro_config
from unit.job.runs import statement

CALL = """
import json, sys, traceback
from pathlib import Path
from atlas.errors import AtlasError
from atlas.publishing.push import push
given = json.loads(sys.argv[1])
given["files"] = [Path(file) for file in given["files"]]
given["card"] = Path(given["card"])
try:
    push(**given, record=Path("record.json"))
    print(json.dumps(None))
except AtlasError as error:
    traceback.print_exc()
    print(json.dumps(str(error)))
"""
MODEL = "results/models/m"
WEIGHTS = f"{MODEL}/adapter_model.safetensors"
RAW = "results/datasets/raw.jsonl"
CARD = "results/pushed/mine.md"
TEXT = "---\nlibrary_name: peft\nlicense: mit\n---\n\n# m\n"


def attest(outputs: dict[str, bytes], inputs: tuple[str, ...] = ()) -> list[str]:
    """Files with the statement of a job that made them."""
    for name, data in outputs.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(data)
    sha = {n: hashlib.sha256(Path(n).read_bytes()).hexdigest() for n in (*outputs, *inputs)}
    read = {n: sha[n] for n in inputs}
    statements.store(statement({n: sha[n] for n in outputs}, read, "make"), outputs)
    return list(outputs)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a model that was made from rows."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    attest({RAW: b"{}\n"})
    attest({WEIGHTS: os.urandom(5000), f"{MODEL}/adapter_config.json": b'{"r": 2}\n',
            f"{MODEL}/bom.cdx.json": b"{}\n"}, (RAW,))  # fmt: skip
    attest({CARD: TEXT.encode()})
    return place


@pytest.fixture
def server():
    with Hub() as hub:
        yield hub


@pytest.fixture
def push(server, folder):
    """Push the model in a new process that knows this hub: None, or its sentence."""

    def call(token: str | None = TOKEN, env: dict | None = None, **given) -> str | None:
        arguments = {
            "files": [WEIGHTS, f"{MODEL}/adapter_config.json", f"{MODEL}/bom.cdx.json"],
            "card": CARD, "path": "models/m", "repo": "org/m", "private": True, "name": "mine",
        } | given  # fmt: skip
        env = server.client(**({"HF_TOKEN": token} if token else {}), **(env or {}))
        command = [sys.executable, "-c", CALL, json.dumps(arguments)]
        done = programs.run(command, cwd=folder, env=env, libraries=["huggingface-hub"])
        assert done.returncode == 0, done.stderr
        for secret in filter(None, (token, "X-Amz")):
            assert secret not in done.stdout + done.stderr
        sentence = json.loads(done.stdout.splitlines()[-1])
        assert (sentence is None) == (folder / "record.json").is_file()
        assert sentence is None or "\n" not in sentence
        return sentence

    return call


def record() -> dict:
    text = Path("record.json").read_text()
    Path("record.json").unlink()
    assert TOKEN not in text
    return json.loads(text)


def written(server: Hub) -> list[str]:
    """Requests that change something."""
    return [path for method, path, _ in server.requests if method in ("POST", "PUT")]


def test_a_model_is_uploaded_with_its_card(server, push):
    assert push() is None
    repository = server.repositories["models", "org/m"]
    assert repository.private
    files = server.files("org/m")
    assert files["adapter_model.safetensors"] == Path(WEIGHTS).read_bytes()
    assert files["adapter_config.json"] == b'{"r": 2}\n'
    assert files["README.md"] == TEXT.encode()
    assert sorted(files) == ["README.md", "adapter_config.json", "adapter_model.safetensors",
                             "bom.cdx.json"]  # fmt: skip
    assert record() == {
        "name": "mine", "path": "models/m", "repo": "org/m", "private": True,
        "hub": server.endpoint, "commit": repository.revisions["main"],
        "files": [{"name": n, "bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()}
                  for n, d in sorted(files.items())],
    }  # fmt: skip


def test_again_nothing_is_sent_and_what_changed_is_a_new_commit(server, push):
    push()
    first = record()["commit"]
    assert push() is None
    assert record()["commit"] == first
    server.requests.clear()
    attest({f"{MODEL}/adapter_config.json": b'{"r": 4}\n'}, (RAW,))
    assert push() is None
    assert record()["commit"] != first
    assert server.files("org/m")["adapter_config.json"] == b'{"r": 4}\n'
    assert not [path for path in written(server) if path.startswith("/upload/")]


def test_other_files_of_a_repository_stay_and_other_weights_are_refused(server, push):
    server.commit("org/m", {"LICENSE": b"mine"}, private=True)
    assert push() is None
    assert server.files("org/m")["LICENSE"] == b"mine"
    record()
    server.commit("org/m", {"model.safetensors": b"0"}, private=True)
    server.requests.clear()
    sentence = push()
    assert "holds model.safetensors" in sentence and "remove it there" in sentence
    assert written(server) == []


def test_an_altered_file_is_named_and_nothing_is_asked(server, push):
    data = bytearray(Path(WEIGHTS).read_bytes())
    data[70] ^= 1
    Path(WEIGHTS).write_bytes(data)
    sentence = push()
    assert sentence.startswith(f"models/m: {WEIGHTS} is not what make made")
    assert "nothing was uploaded" in sentence
    assert server.requests == []


def test_the_first_broken_file_is_named_wherever_it_is(server, push):
    Path(RAW).write_bytes(b"[]\n")
    assert f"models/m: {RAW} is not what make made" in push()
    Path(RAW).unlink()
    assert f"models/m: {RAW} is missing" in push()
    attest({RAW: b"another\n"})
    assert f"was made from another {RAW}" in push()
    assert server.requests == []


def test_files_and_cards_without_attestation(server, push):
    for name in ("models/m/adapter_config.json", "pushed/mine.md"):
        pointer = Path(f"results/provenance/attestations/{name}.json")
        target = pointer.readlink()
        pointer.unlink()
        assert f"{name} has no attestation" in push()
        pointer.symlink_to(target)
    assert server.requests == []


def test_a_public_repository_is_not_used_for_private_files(server, push):
    server.commit("org/m", {"LICENSE": b""})
    sentence = push()
    assert "is public, and private: true is asked for" in sentence
    assert written(server) == []
    assert push(private=False) is None
    assert record()["private"] is False


def test_a_private_repository_stays_private(server, push):
    server.commit("org/m", {"LICENSE": b""}, private=True)
    assert "is private, and private: false is asked for" in push(private=False)
    assert written(server) == []


def test_public_only_when_it_is_asked_for(server, push):
    assert push(private=False) is None
    assert not server.repositories["models", "org/m"].private


def test_an_organisation_that_makes_everything_public(server, push):
    server.visibility = "public"
    assert "is public, and private: true" in push()
    assert server.files("org/m") == {}


def test_tokens(server, push, tmp_path):
    assert "there is no token" in push(token=None) and server.requests == []
    for token in ("hf_unknown", "hf_schlüssel"):
        sentence = push(token=token)
        assert sentence.startswith("org/m: ") and written(server) in ([], ["/api/repos/create"])
    assert "does not accept the token" in push(token="hf_unknown")
    assert "may not write there" in push(token=READ_TOKEN)
    assert "may not write there" in push(repo="other/m")
    assert server.repositories == {}
    server.commit("org/m", {"LICENSE": b""}, private=True)
    assert "may not write there" in push(token=READ_TOKEN)
    assert server.files("org/m") == {"LICENSE": b""}
    (tmp_path / "token").write_text(TOKEN)
    assert push(token=None, env={"HF_TOKEN_PATH": str(tmp_path / "token")}) is None


def test_a_repository_that_the_token_may_not_see(server, push):
    server.commit("org/m", {"LICENSE": b""}, private=True)
    server.refusals["create"] = (409, "You already created this model repo")
    assert "check the name" in push(token="hf_unknown")


REFUSALS = [
    ("create", 403, "Private repository storage limit reached", "no room .*storage limit"),
    ("object", 413, "over quota: 100 GB", "no room .*over quota"),
    ("commit", 402, "Payment required", "no room"),
    ("create", 429, "", "wait some minutes"),
    ("upload", 403, "Request has expired", "store of the hub refused a file .status 403"),
    ("upload", 400, "", "nothing was committed"),
    ("commit", 403, "You may not", "may not write there .You may not"),
    ("commit", 412, "A commit has happened since", "changed meanwhile"),
    ("validate", 400, "no", "refuses the card"),
    ("create", 500, "", "cannot be reached"),
]


@pytest.mark.parametrize(("route", "status", "words", "sentence"), REFUSALS)
def test_what_a_hub_refuses_is_said_in_one_sentence(server, push, route, status, words, sentence):
    server.refusals[route] = (status, words)
    said = push()
    assert said.startswith("org/m: ") and re.search(sentence, said), said
    assert ("models", "org/m") not in server.repositories or server.files("org/m") == {}
    server.refusals.clear()
    assert push() is None


def test_a_hub_that_cannot_be_reached(server, push):
    assert "cannot be reached" in push(env={"HF_HUB_OFFLINE": "1"})
    server.stop()
    assert "cannot be reached" in push()


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "README.md"])
def test_what_the_hub_lists_is_compared_with_what_was_sent(server, push, name):
    server.spoil = name
    said = push()
    assert f"org/m/{name}: the hub lists it with" in said and "do not use" in said


def test_wrong_pushes_are_refused_before_anything_is_made():
    def check(pushes):
        check_pushes(Config.model_validate({"pushes": pushes}), ["m", "n"], ["m+chat"])

    check(
        {"a": {"path": "models/m", "repo": "org/m"}, "b": {"path": "merged/m+chat", "repo": "o/n"}}
    )
    with pytest.raises(
        AtlasError, match=r"pushes.a.path: there is no merged model 'm\+chta'; did you"
    ):
        check({"a": {"path": "merged/m+chta", "repo": "org/m"}})
    with pytest.raises(AtlasError, match="there is no delta 'chat'"):
        check({"a": {"path": "deltas/chat", "repo": "org/m"}})
    with pytest.raises(AtlasError, match=r"pushes.b.repo: Org/m is the repository of 'a' too"):
        check(
            {"a": {"path": "models/m", "repo": "org/m"}, "b": {"path": "models/n", "repo": "Org/m"}}
        )


def test_files_of_each_kind_of_upload():
    config = micro_config()
    config["bases"]["instruct"] = config["bases"]["micro"]
    config["deltas"] = {"chat": {"base": "micro", "instruct": "instruct"}}
    merged = "merged/micro-beta-first+chat"
    paths = {"a": "deltas/chat", "b": merged, "c": "models/micro-beta-first"}
    config["pushes"] = {n: {"path": p, "repo": f"org/{n}"} for n, p in paths.items()}
    plan = build(config)
    assert plan.push_files("a") == [
        "results/deltas/chat/delta.safetensors", "results/deltas/chat/delta_meta.json",
        "results/deltas/chat/bom.cdx.json",
    ]  # fmt: skip
    names = ("bom.cdx.json", "config.json", "generation_config.json", "tokenizer.json")
    assert {f"results/{merged}/{n}" for n in names} < set(plan.push_files("b"))
    assert plan.push_files("c")[-1] == "results/models/micro-beta-first/bom.cdx.json"
    assert all(push.private for push in plan.config.pushes.values())
