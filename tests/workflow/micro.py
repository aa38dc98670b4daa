"""A copy of the workflow and a configuration so small that a run takes a minute or two."""

import compileall
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

import programs
from atlas.job import forked
from atlas.job.closures import STORES, Library, Store

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "rules", "scripts", "config", "envs", "resources", "profiles", "slurm",
         "notebooks", "CITATION.cff")  # fmt: skip
LLAMA = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 512,
}  # fmt: skip
BERT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 48}  # fmt: skip
MAIN_JOBS = 42  # for the default target: every file of the main table
TASKS = {
    "alpha": ("Add the numbers.", lambda i: (f"{i} + {i}", f"The sum is {2 * i}.")),
    "beta": ("Say what the animal does.", lambda i: (f"animal {i}", f"It {('swims', 'runs')[i % 2]} away.")),
}  # fmt: skip


def lay_down(*places: Path) -> None:
    """Files that a dry run looks for where a configuration names its user's own: adapters, rows."""
    for place in places:
        if place.suffix:
            place.write_text('{"date": "2019-05-01", "text": "A text."}\n')
            continue
        place.mkdir(parents=True)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (place / name).touch()


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Where all temporary files of all processes that run tests side by side are."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@cache
def compiled() -> Path:
    """This checkout, its modules compiled and parsed: copies of them need not be."""
    compileall.compile_dir(ROOT / "scripts", quiet=2)
    Library(ROOT / "scripts", Store(ROOT / STORES))
    return ROOT


def checkout(folder: Path) -> Path:
    """A clean checkout of the workflow in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = compiled() / part
        if source.is_dir():
            # What another process of the tests is just compiling is named so.
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("*.pyc.*"))
        elif source.exists():
            shutil.copy(source, folder / part)
    (folder / STORES).mkdir(parents=True, exist_ok=True)
    for parsed in (ROOT / STORES).glob("[!.]*.json"):
        shutil.copy(parsed, folder / STORES)
    return folder


def write_rows(file: Path, name: str, count: int = 30) -> None:
    """Raw rows of a tiny dataset."""
    file.parent.mkdir(parents=True, exist_ok=True)
    make = TASKS[name][1]
    lines = []
    for i in range(count):
        question, answer = make(i)
        lines.append(json.dumps({"number": i, "item": {"question": question, "answer": answer}}))
    file.write_text("\n".join(lines) + "\n")


def dataset(name: str) -> dict:
    return {
        "domain": name, "source": {"local": f"data/{name}.jsonl"},
        "columns": {"question": "item.question", "answer": "item.answer"},
        "template": {"task": TASKS[name][0], "input": "{{ question }}",
                     "completion": " {{ answer }}"},
        "cut": "question",
    }  # fmt: skip


def micro_config() -> dict:
    """Two domains, two models each, one random base."""
    return {
        "bases": {"micro": {"source": {"random": {"architecture": "llama", "seed": 1,
                                                  "config": LLAMA}}}},
        "encoders": {"tiny": {"source": {"random": {"architecture": "bert", "config": BERT}}}},
        "datasets": {name: dataset(name) for name in TASKS},
        "recipes": {"quick": {
            "objective": "sft", "parameters": "lora", "lora": {"r": 2, "alpha": 4},
            "learning_rate": 0.01, "batch_size": 2, "accumulation": 1, "epochs": 1, "rows": 6,
            "length": {"max_tokens": 400, "policy": "cut"},
        }},
        "grids": {"micro": {
            "name": "micro-{dataset}-{split}",
            "lists": {"dataset": ["alpha", "beta"], "split": ["first", "second"]},
            "model": {"base": "micro", "recipe": "quick",
                      "data": [{"dataset": "{dataset}", "split": "{split}"}]},
        }},
        "pools": {"micro": {"models": ["micro-*"], "encoder": "tiny", "new_tokens": 4}},
        "tables": {"main": {"pools": ["micro"], "published": {}}},
        "summary": ["main"],
    }  # fmt: skip


def small_config() -> dict:
    """Every stage in fewer jobs: two domains, three of their models, one space."""
    config = micro_config()
    config["pools"]["micro"] |= {
        "excluded": ["micro-alpha-second"],
        "spaces": ["delta_activations"],
    }
    return config


def write_config(folder: Path, config: dict, name: str = "micro.yaml") -> Path:
    """Write a configuration beside the Snakefile."""
    path = folder / name
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def micro(folder: Path, config: dict | None = None) -> Path:
    """A checkout with the micro configuration and its data."""
    checkout(folder)
    for name in TASKS:
        write_rows(folder / "data" / f"{name}.jsonl", name)
    write_config(folder, config or micro_config())
    return folder


def environment(**extra: str) -> dict[str, str]:
    """Of a run; its jobs start from the processes that all tests share."""
    own = ("DELTA_ATLAS", "SNAKEMAKE", "PYTEST")
    env = {k: v for k, v in os.environ.items() if not k.startswith(own) or k == forked.VARIABLE}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    return env | {"HF_HUB_OFFLINE": "1"} | extra


def command(*args: str, config: str | None = "micro.yaml") -> list[str]:
    line = [sys.executable, "-m", "snakemake", *args]
    return [*line, "--configfile", config] if config else line


def snakemake(
    folder: Path, *args: str, config: str | None = "micro.yaml", check: bool = True,
    timeout: int = 1200, **env: str,
) -> subprocess.CompletedProcess:  # fmt: skip
    """Run Snakemake in a checkout; output and errors come together in stdout."""
    done = programs.run(
        command(*args, config=config), cwd=folder, env=environment(**env), timeout=timeout,
        together=True,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"snakemake {' '.join(args)} failed:\n{done.stdout[-6000:]}")
    return done


def planned(folder: Path, *args: str, config: str | None = "micro.yaml") -> set[str]:
    """Messages of the jobs that a dry run would do."""
    done = snakemake(folder, "-n", "--cores", "1", *args, config=config)
    return set(re.findall(r"^Job \d+: (.*)$", done.stdout, flags=re.MULTILINE))


def lineage(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run scripts/lineage.py in a checkout."""
    line = [sys.executable, str(folder / "scripts/lineage.py"), *arguments]
    return programs.run(line, cwd=folder, env=environment())


def digests(folder: Path, below: str = "results") -> dict[str, str]:
    """SHA-256 of every artefact; statements, which hold times and hosts, are left out."""
    found = {}
    for file in sorted((folder / below).rglob("*")):
        relative = file.relative_to(folder).as_posix()
        if file.is_file() and not relative.startswith("results/provenance/"):
            found[relative] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def statements(folder: Path) -> dict[str, dict]:
    """The newest statement of every artefact."""
    tree = folder / "results/provenance/attestations"
    return {
        f.relative_to(tree).as_posix().removesuffix(".json"): json.loads(f.read_text())
        for f in sorted(tree.rglob("*.json"))
    }


def litter(folder: Path) -> list[str]:
    """Files that no finished run leaves behind."""
    return [
        str(f) for f in (folder / "results").rglob("*")
        if f.is_file() and (f.name.startswith(".") or f.suffix == ".tmp")
    ]  # fmt: skip
