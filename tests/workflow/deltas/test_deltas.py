"""Instruction deltas through the workflow: made once, added to an adapter and to a full model."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter

import pytest
import torch

from atlas.job.records import Records
from atlas.lineage.verify import verify
from hub_server import TOKEN, Hub
from micro import (
    digests,
    environment,
    lineage,
    litter,
    micro_config,
    planned,
    snakemake,
    statements,
    write_config,
)
from reports import check_summary

pytestmark = pytest.mark.workflow
TARGETS = (
    "results/tables/side_by_side.csv", "results/tables/periods.csv",
    "results/deltas/talkative/layers.csv", "results/merged/micro-alpha-first+talkative/model.safetensors",
)  # fmt: skip


def deltas() -> dict:
    config = micro_config()
    quick, source = config["recipes"]["quick"], config["datasets"]["alpha"]
    whole = {**quick, "parameters": "full", "rows": None, "learning_rate": 0.003, "epochs": 2,
             "length": {"max_tokens": 200, "policy": "truncate"}}  # fmt: skip
    text = {"columns": source["columns"], "template": {"text": "{{ question }} is {{ answer }}"}}
    config["recipes"] |= {"read": {**whole, "objective": "cpt"}, "talk": whole}
    config["datasets"] |= {
        "old": {"domain": "old", "source": source["source"], "between": {"number": ["0", "14"]}, **text},
        "new": {"domain": "new", "source": source["source"], "between": {"number": ["15", "29"]}, **text},
        "talk": {"domain": "talk", "source": source["source"], "columns": source["columns"],
                 "template": {"messages": {"user": "{{ question }}", "assistant": "{{ answer }}"}}},
    }  # fmt: skip
    config["models"] = {
        "talker": {"base": "micro", "recipe": "talk", "data": [{"dataset": "talk", "split": "region"}]},
        **{f"period-{name}": {"base": "micro", "recipe": "read",
                              "data": [{"dataset": name, "split": "region"}]} for name in ("old", "new")},
    }  # fmt: skip
    config["bases"]["talks"] = {"source": {"model": "talker"}}
    config["deltas"] = {"talkative": {"base": "micro", "instruct": "talks", "dtype": "float32"}}
    config["pools"]["periods"] = {
        "models": ["period-old", "period-new", "period-old+talkative", "period-new+talkative"],
        "spaces": ["delta_activations", "flattened_weights"],
    }
    shared = {"deltas": ["talkative"], "texts": ["old", "new"], "chats": ["talk"], "new_tokens": 4}
    config["tables"] |= {
        "side_by_side": {"kind": "instruct", "models": ["micro-alpha-first"], **shared},
        "periods": {"kind": "temporal", "pools": ["periods"], "models": ["period-old", "period-new"],
                    **shared},
    }  # fmt: skip
    config["summary"] = ["side_by_side", "periods"]
    return config


@pytest.fixture(scope="module")
def made(configured):
    folder = configured(deltas())
    snakemake(folder, *TARGETS, "--cores", "2", "--resources", "gpu=1")
    return folder


def rows(file) -> list[dict]:
    with file.open(newline="") as handle:
        return list(csv.DictReader(handle))


def weights(folder) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_a_merged_model_is_the_sum_and_loads_with_no_help(made):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base_folder = made / "results/sources/bases/micro"
    merged_folder = made / "results/merged/micro-alpha-first+talkative"
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(base, made / "results/models/micro-alpha-first")
    merged = AutoModelForCausalLM.from_pretrained(merged_folder).state_dict()
    before, talker = weights(base_folder), weights(made / "results/models/talker")
    for name, tensor in adapted.merge_and_unload().state_dict().items():
        assert torch.allclose(merged[name], tensor + (talker[name] - before[name]), atol=1e-7), name
    tokenizer = AutoTokenizer.from_pretrained(merged_folder)
    assert tokenizer.chat_template
    assert "micro-alpha-first" in (merged_folder / "README.md").read_text()


def test_no_two_artefacts_are_one_file(made):
    """Each would have the time stamp of both; Snakemake refuses an output older than an input."""
    files = [made / "results" / path for path in statements(made)]
    names = Counter(file.stat().st_ino for file in files if file.is_file())
    assert len(names) > 50
    assert set(names.values()) == {1}


def test_the_delta_gives_its_own_instruct_model_back(made):
    check = json.loads((made / "results/deltas/talkative/identity.json").read_text())
    assert check["outside_bound"] == 0
    assert 0.5 < check["share"] <= 1
    layers = rows(made / "results/deltas/talkative/layers.csv")
    assert layers[-1]["layer"] == "total"
    folders = made / "results/sources/bases/micro", made / "results/models/talker"
    before, talker = map(weights, folders)
    squares = sum(float((talker[n].double() - before[n].double()).square().sum()) for n in before)
    assert float(layers[-1]["l2"]) == pytest.approx(squares**0.5, rel=1e-5)


def test_four_checkpoints_side_by_side(made):
    found = rows(made / "results/tables/side_by_side.csv")
    roles = {r["role"]: r["checkpoint"] for r in found}
    assert roles == {"base": "micro", "instruct": "talks", "model": "micro-alpha-first",
                     "merged": "micro-alpha-first+talkative"}  # fmt: skip
    loss = {r["role"]: float(r["value"]) for r in found if r["measure"] == "chat_loss"}
    assert loss["instruct"] < loss["base"]
    assert loss["merged"] < loss["model"]


def test_periods_before_and_after(made):
    found = rows(made / "results/tables/periods.csv")
    assert {r["on"] for r in found if r["measure"] == "perplexity"} == {"old", "new"}
    distances = rows(made / "results/tables/periods_distances.csv")
    assert {(r["space"], r["delta"]) for r in distances} == {
        (space, delta)
        for space in ("delta_activations", "flattened_weights")
        for delta in ("", "talkative")
    }
    assert (made / "results/figures/periods.png").stat().st_size > 1000


def test_periods_share_no_row_and_hold_some_out(made):
    def numbers(name):
        file = made / f"results/sources/datasets/{name}.jsonl"
        return [json.loads(line)["number"] for line in file.read_text().splitlines()]

    assert numbers("old") == list(range(15))
    assert numbers("new") == list(range(15, 30))
    held = (made / "results/datasets/new/rest.jsonl").read_text().splitlines()
    assert len(held) == 3


def test_it_is_attested_and_made_once(made):
    assert verify(Records(made)).faults == []
    assert planned(made, *TARGETS) == set()
    before = digests(made)
    config = deltas()
    config["deltas"]["talkative"]["dtype"] = "float16"
    write_config(made, config)
    again = planned(made, *TARGETS)
    assert not any(job.startswith("train") for job in again)
    assert "take the base from the instruct model of talkative" in again
    write_config(made, deltas())
    snakemake(made, *TARGETS, "--cores", "2", "--resources", "gpu=1")
    assert digests(made) == before


MERGED = "results/merged/micro-alpha-first+talkative"
# A job in a child of its own for each point at which it is killed: before the n-th byte of its
# weights is written, or before its n-th output gets its name.
KILLED = """
import hashlib, json, os, signal, sys, traceback
from pathlib import Path
sys.path.insert(0, "scripts")
from atlas.deltas import instruction_deltas, merged_models
from atlas.job import entry as job
from atlas.job.closures import Library

class Named(dict):
    def __iter__(self):
        for value in self.values():
            yield from [value] if isinstance(value, str) else value
    def __len__(self):
        return len(list(iter(self)))
    __getattr__ = dict.__getitem__

class Job:
    pass

given = json.loads(sys.argv[1])
snakemake = Job()
for key in ("input", "output", "params", "wildcards"):
    setattr(snakemake, key, Named(given[key]))
snakemake.params["code"] = Library().closure(given["target"])
snakemake.rule, snakemake.threads, snakemake.config = given["rule"], 1, {"device": "cpu"}
snakemake.log, snakemake.resources = ["logs/killed.log"], {}
pwrite, replace, seen = os.pwrite, os.replace, 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def child(kind, point):
    global seen
    def writing(file, data, offset):
        if offset + len(data) >= point:
            pwrite(file, data[: point - offset], offset)
            die()
        return pwrite(file, data, offset)
    def renaming(source, target):
        global seen
        if str(target) in list(snakemake.output):
            if seen == point:
                die()
            seen += 1
        return replace(source, target)
    if kind == "byte":
        os.pwrite = writing
    if kind == "name":
        os.replace = renaming
    job.run(snakemake)

def attempt(kind=None, point=0):
    pid = os.fork()
    if pid == 0:
        try:
            child(kind, point)
        except BaseException:
            traceback.print_exc()
            os._exit(99)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, {o: hashlib.sha256(Path(o).read_bytes()).hexdigest()
                    for o in snakemake.output if Path(o).exists()}

def staged():
    return sum(f.stat().st_size for f in Path(given["weights"]).parent.glob(".*stage*"))

found = []
for kind, point in given["points"]:
    for output in snakemake.output:
        Path(output).unlink(missing_ok=True)
    killed, visible = attempt(kind, point)
    half = staged()
    again, made = attempt()
    found.append({"killed": killed, "visible": visible, "staged": half, "again": again,
                  "made": made, "left": staged()})
print(json.dumps(found))
"""


def jobs(made) -> dict[str, dict]:
    """The two jobs, as Snakemake hands them over, with their weights first among the outputs."""

    def base(name):
        folder = f"results/sources/bases/{name}"
        names = ("base.json", "config.json", "tokenizer.json", "tokenizer_config.json",
                 "model.safetensors")  # fmt: skip
        return [f"{folder}/{file}" for file in names]

    delta = {key: f"results/deltas/talkative/{name}"
             for key, name in (("delta", "delta.safetensors"), ("meta", "delta_meta.json"))}  # fmt: skip
    names = {"config": "config.json", "generation": "generation_config.json",
             "tokenizer": "tokenizer.json", "tokenizer_config": "tokenizer_config.json",
             "card": "README.md"}  # fmt: skip
    adapter = ("adapter_model.safetensors", "adapter_config.json")
    found = {
        "make_delta": {
            "target": "atlas.deltas.instruction_deltas:make_delta", "wildcards": {"delta": "talkative"},
            "input": {"base": base("micro"), "instruct": base("talks")}, "output": delta,
            "weights": delta["delta"],
        },
        "apply_delta_1": {
            "target": "atlas.deltas.merged_models:apply_delta",
            "wildcards": {"merged": "micro-alpha-first+talkative"},
            "input": {
                "model": [f"results/models/micro-alpha-first/{name}" for name in adapter],
                "model_base": base("micro"), "base": base("micro"), "instruct": base("talks"), **delta,
            },
            "output": {"weights": [f"{MERGED}/model.safetensors"],
                       **{key: f"{MERGED}/{name}" for key, name in names.items()}},
            "weights": f"{MERGED}/model.safetensors",
        },
    }  # fmt: skip
    records = Records(made)
    for rule, job in found.items():
        statement = records.statement(job["weights"])
        assert statement.rule == rule
        job |= {"rule": rule, "params": statement.params}
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")
@pytest.mark.parametrize("rule", ["make_delta", "apply_delta_1"])
def test_killed_at_any_byte_the_next_job_ends_in_the_same_bytes(made, tmp_path, rule):
    folder = shutil.copytree(made, tmp_path / "copy", symlinks=True)
    job = jobs(made)[rule]
    size = (made / job["weights"]).stat().st_size
    assert size > 10_000
    points = [0, 1, 8, 9, *range(size // 10, size, size // 10), size - 1, size]
    outputs = [
        o
        for value in job["output"].values()
        for o in ([value] if isinstance(value, str) else value)
    ]
    wanted = [("byte", point) for point in points] + [("name", n) for n in range(len(outputs))]
    before = digests(made)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps({**job, "points": wanted})], cwd=folder,
        env=environment(OMP_NUM_THREADS="1"), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert len(found) == len(wanted)
    for (kind, point), entry in zip(wanted, found, strict=True):
        assert entry["killed"] == -signal.SIGKILL, (kind, point, done.stderr[-3000:])
        if kind == "byte":
            assert entry["visible"] == {}
            assert entry["staged"] == point  # nothing else had been written yet
        else:
            assert len(entry["visible"]) == point
        assert all(digest == before[name] for name, digest in entry["visible"].items())
        assert (entry["again"], entry["left"]) == (0, 0), (kind, point)
        assert entry["made"] == {name: before[name] for name in outputs}
    assert digests(folder) == before
    assert litter(folder) == []
    assert verify(Records(folder)).faults == []


def test_a_delta_and_a_merged_model_are_pushed_as_they_were_verified(made, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = shutil.copytree(made, tmp_path / "copy", symlinks=True)
    config = deltas()
    config["pushes"] = {
        "delta": {"path": "deltas/talkative", "repo": "org/talkative"},
        "merged": {"path": MERGED.removeprefix("results/"), "repo": "org/merged"},
    }
    write_config(folder, config)
    records = [f"results/pushed/{name}.json" for name in ("delta", "merged")]
    with Hub() as server:

        def push(check=True):
            return snakemake(folder, *records, "--cores", "1", "--keep-going", check=check,
                             **server.environment(HF_TOKEN=TOKEN))  # fmt: skip

        delta = folder / "results/deltas/talkative/delta.safetensors"
        data, times = delta.read_bytes(), delta.stat()
        delta.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        os.utime(delta, ns=(times.st_atime_ns, times.st_mtime_ns))
        refused = push(check=False)
        assert refused.returncode != 0
        assert "delta.safetensors is not what make_delta made" in refused.stdout
        assert server.requests == []
        delta.write_bytes(data)
        os.utime(delta, ns=(times.st_atime_ns, times.st_mtime_ns))

        push()
        assert all(
            server.repositories["models", f"org/{n}"].private for n in ("talkative", "merged")
        )
        there = server.files("org/talkative")
        files = ["README.md", "bom.cdx.json", "delta.safetensors", "delta_meta.json"]
        assert sorted(there) == files
        assert there["delta.safetensors"] == data
        bill = json.loads(there["bom.cdx.json"])["metadata"]["component"]
        assert bill["bom-ref"] == "delta/talkative"
        behind = {prop["value"] for one in bill["pedigree"]["ancestors"] for prop in one["properties"]
                  if prop["name"] == "delta-atlas:bom-ref"}  # fmt: skip
        assert behind == {"base/micro", "base/talks", "dataset/talk", "model/talker"}
        there = server.files("org/merged")
        assert sorted(there) == [
            "README.md", "bom.cdx.json", "config.json", "generation_config.json",
            "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        ]  # fmt: skip
        assert 'from_pretrained("org/merged")' in there["README.md"].decode()
        assert json.loads(delta.with_name("delta_meta.json").read_text())["delta_sha256"] in (
            there["README.md"].decode()
        )
        fetched = tmp_path / "fetched"
        fetched.mkdir()
        for name, content in there.items():
            (fetched / name).write_bytes(content)
    pushed, local = (AutoModelForCausalLM.from_pretrained(f) for f in (fetched, folder / MERGED))
    for name, tensor in local.state_dict().items():
        assert torch.equal(pushed.state_dict()[name], tensor)
    assert AutoTokenizer.from_pretrained(fetched).chat_template
    assert lineage(folder, "verify", *records).returncode == 0


def test_the_summary_and_the_report(made):
    text = check_summary(made, "side_by_side", "periods", drawn=False)
    assert "with the delta `talkative` it is" in text
    assert "the distance of `period-old` and `period-new`" in text
