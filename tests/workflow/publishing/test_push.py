"""Uploads are made when they are asked for, of what is whole, and leave no token anywhere."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from atlas.job.records import Records
from atlas.job.statements import store
from hub_server import TOKEN, Hub
from micro import lineage, micro_config, planned, snakemake, write_config

pytestmark = pytest.mark.workflow
MAIN = "results/tables/main.csv"
MODEL = "results/models/micro-alpha-first"
RECORD = "results/pushed/mine.json"
CROISSANT = "results/sources/datasets/alpha.croissant.json"
BASE = "results/sources/bases/micro/model.safetensors"
NAMES = ["README.md", "adapter_config.json", "adapter_model.safetensors", "bom.cdx.json"]


@pytest.fixture(scope="module")
def server():
    with Hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory) -> Path:
    """A finished run whose configuration names an upload."""
    place = tmp_path_factory.mktemp("push") / "copy"
    shutil.copytree(finished, place, symlinks=True)
    write_config(place, pushing())
    return place


def pushing(**recipe) -> dict:
    config = micro_config()
    config["recipes"]["quick"] |= recipe
    config["pushes"] = {"mine": {"path": "models/micro-alpha-first", "repo": "org/mine"}}
    return config


def run(folder: Path, server: Hub, target: str, check: bool = True):
    return snakemake(folder, target, "--cores", "1", check=check,
                     **server.environment(HF_TOKEN=TOKEN))  # fmt: skip


def holding(folder: Path, text: str) -> list[str]:
    """Files of any kind that hold a text."""
    return [str(f) for f in folder.rglob("*") if f.is_file() and text.encode() in f.read_bytes()]


def test_an_ordinary_run_pushes_nothing(folder, server):
    assert not any("push" in job for job in planned(folder, "--forceall", MAIN))
    run(folder, server, MAIN)
    assert server.requests == [] and not (folder / RECORD).exists()


def test_altered_results_are_refused_with_nothing_uploaded(folder, server):
    for name in (f"{MODEL}/adapter_model.safetensors", BASE):
        file = folder / name
        data, times = file.read_bytes(), file.stat()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        # As a damaged disk would: Snakemake sees no change, so that only digests can tell.
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        done = run(folder, server, RECORD, check=False)
        assert done.returncode != 0
        assert f"{name} is not what" in done.stdout
        assert server.requests == [] and not (folder / RECORD).exists()
        file.write_bytes(data)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_model_is_pushed_privately_and_attested(folder, server):
    run(folder, server, RECORD)
    files = server.files("org/mine")
    assert sorted(files) == NAMES
    for name in NAMES[1:]:
        assert files[name] == (folder / MODEL / name).read_bytes()
    assert server.repositories["models", "org/mine"].private
    record = json.loads((folder / RECORD).read_text())
    assert record["private"] is True
    assert record["commit"] == server.repositories["models", "org/mine"].revisions["main"]
    assert lineage(folder, "verify", RECORD).returncode == 0
    assert holding(folder, TOKEN) == []


def test_what_tells_something_else_than_the_statements_is_named(folder, server):
    run(folder, server, CROISSANT)
    for file in (f"{MODEL}/bom.cdx.json", "results/pushed/mine.md", CROISSANT):
        made = Records(folder).statement(file)
        data = (folder / file).read_bytes()
        forged = data.replace(b"alpha", b"gamma", 1)
        assert forged != data
        (folder / file).write_bytes(forged)
        digest = hashlib.sha256(forged).hexdigest()
        store(replace(made, outputs={file: digest}), [file], folder)
        done = lineage(folder, "verify", file)
        assert done.returncode == 1
        assert f"{file} says something else than the statements" in done.stdout.replace("\n", " ")
        (folder / file).write_bytes(data)
        store(made, [file], folder)
        assert lineage(folder, "verify", file).returncode == 0


def test_the_examples_of_both_cards_work_for_their_readers(folder, server, tmp_path):
    """The model's own, from the folder of the run; that of its upload, from the hub, elsewhere."""
    own, uploaded = (
        re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
        for text in ((folder / f"{MODEL}/README.md").read_text(),
                     server.files("org/mine")["README.md"].decode())
    )  # fmt: skip
    # Of a base that is random weights, the card says to ask for it and put its folder there.
    assert 'from_pretrained("BASE")' in uploaded and '"org/mine"' in uploaded
    uploaded = uploaded.replace('"BASE"', repr(str(folder / "results/sources/bases/micro")))
    ask = "import torch\nprint(model(torch.tensor([[1, 2, 3]])).logits.sum().item())\n"
    said = []
    for place, text in ((folder, own), (tmp_path, uploaded)):
        environment = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1",
                       **server.environment(HF_TOKEN=TOKEN)}  # fmt: skip
        done = subprocess.run([sys.executable, "-c", text + ask], cwd=place, env=environment,
                              check=False, capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]


def test_it_is_pushed_again_when_it_changed_and_only_then(folder, server):
    assert planned(folder, RECORD) == set()
    write_config(folder, pushing(learning_rate=0.02))
    jobs = planned(folder, RECORD)
    assert "push mine to a hub" in jobs and len(jobs) == 4  # the model, its bill and its card
    run(folder, server, RECORD)
    weights = (folder / MODEL / NAMES[2]).read_bytes()
    assert server.files("org/mine")[NAMES[2]] == weights
    assert len(server.repositories["models", "org/mine"].files) == 3  # made, and two uploads
