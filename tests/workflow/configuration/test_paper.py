"""config/paper.yaml: planned without a network, and run on a stand-in of the hub."""

import csv
import io
import json
import re
import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import save

from atlas.files import read_json
from atlas.plan.resolved import weight_names
from atlas.sources.bases import fetch_base
from hub_server import Hub
from micro import BERT, checkout, lay_down, litter, snakemake

PUBLISHED = ("delta_activations", "flattened_weights", "salient_mask", "output_sentences")
pytestmark = pytest.mark.workflow

NOWHERE = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9",
           "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9",
           "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}  # fmt: skip
TRAINED = "tables={main: {pools: [llama-trained, gemma-trained, qwen-trained]}}"
SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
# Family in the names of the adapters -> repository, architecture, files of the base.
FAMILIES = {
    "llama-3.1-8b": ("meta-llama/Llama-3.1-8B", "llama", 4),
    "gemma-2-9b": ("google/gemma-2-9b", "gemma2", 8),
    "qwen-2.5-7b": ("Qwen/Qwen2.5-7B", "qwen2", 4),
}
TASKS = ("legalbench", "gsm8k", "pubmedqa", "hellaswag", "opc")
SPLITS = ("first", "second", "third")


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A checkout in which nothing is run."""
    return checkout(tmp_path_factory.mktemp("plain") / "checkout")


def dry(folder: Path, *args: str, table: str = "main") -> tuple[dict[str, int], float]:
    """Jobs of a dry run by rule, and the seconds that it took."""
    start = time.monotonic()
    done = snakemake(
        folder, f"results/tables/{table}.csv", "-n", "--cores", "2", *args,
        config="config/paper.yaml", **NOWHERE,
    )  # fmt: skip
    seconds = time.monotonic() - start
    found = re.search(r"^job +count\n-[- ]+\n(.*?)^total", done.stdout, re.MULTILINE | re.DOTALL)
    assert found, done.stdout[-3000:]
    return {n: int(c) for n, c in (line.split() for line in found[1].splitlines())}, seconds


def test_the_published_adapters_are_planned_without_a_network(plain):
    jobs, seconds = dry(plain)
    assert seconds < 20
    assert jobs["fetch_adapter"] == 45
    assert jobs["fetch_base_4"] == 2 and jobs["fetch_base_8"] == 1
    assert not {"train_adapter", "fetch_rows", "make_split"} & set(jobs)


def test_one_key_trains_them_instead(plain):
    jobs, seconds = dry(plain, "--config", TRAINED)
    assert seconds < 20
    assert jobs["train_adapter"] == jobs["prepare_rows"] == 45
    assert jobs["fetch_rows"] == 5 and jobs["make_split"] == 15
    assert "fetch_adapter" not in jobs


@pytest.mark.parametrize(
    ("table", "trained"),
    [("additive", 15), ("robustness", 65), ("fewshot", 60), ("preference", 12),
     ("instructions", 45), ("cross_checkpoint", 30), ("cross_architecture", 30), ("spaces", 15),
     ("outputs", 45)],
)  # fmt: skip
def test_experiments_are_planned_at_full_size(plain, table, trained):
    jobs, seconds = dry(plain, table=table)
    assert seconds < 30
    assert jobs.get("train_adapter", 0) + jobs.get("train_full_temporary", 0) == trained


def test_selection_is_planned_at_full_size(plain):
    jobs, _ = dry(plain, table="selection")
    assert (jobs["fetch_adapter"], jobs["train_adapter"]) == (196, 27)
    assert jobs["compose_models"] == 27 * 3 * 5


def test_the_temporal_study_is_planned_at_full_size(plain):
    lay_down(plain / "corpus.jsonl")
    done = snakemake(
        plain, "results/tables/temporal.csv", "-n", "--cores", "2", config="config/temporal.yaml",
        **NOWHERE,
    )  # fmt: skip
    for job, count in (("apply_delta_4", 2), ("train_full", 2), ("make_delta", 1), ("evaluate", 6)):
        assert re.search(rf"^{job} +{count}$", done.stdout, re.MULTILINE), done.stdout[-2000:]


def test_the_further_pool_can_be_asked_for(plain):
    done = snakemake(
        plain, "results/pools/llama-anonymous/silhouette.csv", "-n", "--cores", "2",
        config="config/paper.yaml", **NOWHERE,
    )  # fmt: skip
    # The adapters follow once all of them are known to be usable.
    for rule in ("fetch_base_4", "check_shard", "report_pool", "compute_shard"):
        assert re.search(rf"^{rule} +1$", done.stdout, re.MULTILINE)


def base_files(folder: Path, architecture: str, shards: int, seed: int) -> dict[str, bytes]:
    """A tiny random base of an architecture in so many files."""
    extra = {"head_dim": 8, "query_pre_attn_scalar": 8} if architecture == "gemma2" else {}
    names = weight_names(shards)
    folder.mkdir(parents=True)
    fetch_base(
        name=architecture, dtype="bfloat16", licence="none", cache=str(folder),
        source={"random": {"architecture": architecture, "seed": seed, "config": SMALL | extra}},
        weight_names=names, weights=[folder / name for name in names],
        record=folder / "base.json", config=folder / "config.json",
        tokenizer=folder / "tokenizer.json", tokenizer_config=folder / "tokenizer_config.json",
    )  # fmt: skip
    assert read_json(folder / "config.json")["model_type"] == architecture
    files = {f.name: f.read_bytes() for f in folder.iterdir() if f.name != "base.json"}
    # As on the hub: weights in the authors' own format lie beside, and are not to be read.
    return files | {"original/consolidated.00.pth": b"PK", "README.md": b"# A base"}


def adapter_files(repo: str, task: str, split: str) -> dict[str, bytes]:
    """A LoRA adapter: what its task has in common, and a little of its own."""
    shared = np.random.default_rng(TASKS.index(task))
    own = np.random.default_rng([TASKS.index(task), SPLITS.index(split), len(repo)])
    hidden, inner, narrow = SMALL["hidden_size"], SMALL["intermediate_size"], 16
    shapes = {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (hidden, narrow),
              "self_attn.v_proj": (hidden, narrow), "mlp.up_proj": (hidden, inner),
              "mlp.gate_proj": (hidden, inner), "mlp.down_proj": (inner, hidden)}  # fmt: skip
    tensors = {}
    for layer in range(SMALL["num_hidden_layers"]):
        for module, (width, height) in shapes.items():
            for half, shape in (("A", (8, width)), ("B", (height, 8))):
                name = f"base_model.model.model.layers.{layer}.{module}.lora_{half}.weight"
                values = shared.standard_normal(shape) + 0.05 * own.standard_normal(shape)
                tensors[name] = (0.2 * values).astype(np.float32)
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": repo, "r": 8,
        "lora_alpha": 16, "lora_dropout": 0.0, "bias": "none", "inference_mode": True,
        "target_modules": sorted(name.split(".")[-1] for name in shapes),
    }  # fmt: skip
    return {"adapter_config.json": json.dumps(config).encode(), "README.md": b"# An adapter",
            "adapter_model.safetensors": save(tensors, {"format": "pt"}),
            "training_args.bin": b"PK"}  # fmt: skip


def test_the_paper_runs_on_tiny_models(tmp_path):
    folder = checkout(tmp_path / "checkout")
    pools = ("llama", "gemma", "qwen")
    # The encoder comes from the package index: another one, so that nothing else is asked.
    tiny = {"encoders": {"tiny": {"source": {"random": {"architecture": "bert", "config": BERT}}}},
            "pools": {pool: {"encoder": "tiny", "new_tokens": 4} for pool in pools}}  # fmt: skip
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    with Hub() as hub:
        for seed, (family, (repo, architecture, shards)) in enumerate(FAMILIES.items()):
            hub.commit(repo, base_files(tmp_path / family, architecture, shards, seed))
            for task in TASKS:
                for split in SPLITS:
                    name = f"ASethi04/{family}-{task}-{split}"
                    hub.commit(name, adapter_files(repo, task, split))
        snakemake(
            folder, "results/tables/main.csv", "--cores", "2", "--configfile",
            "config/paper.yaml", "tiny.yaml", "--config", "device=cpu", config=None,
            **hub.environment(),
        )  # fmt: skip
        assert not [p for p, _ in hub.downloads() if p.endswith((".bin", ".pth", ".md"))]
    with (folder / "results/tables/main.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["pool"] for row in rows} == {*pools, "average"}
    assert {row["base"] for row in rows} == {"llama-3.1-8b", "gemma-2-9b", "qwen2.5-7b", ""}
    for row in rows:
        assert row["models"] == ("45" if row["pool"] == "average" else "15")
        known = row["distance"] == "cosine_clipped" and row["space"] in PUBLISHED
        assert bool(row["published"]) == known
    for mean in (row for row in rows if row["pool"] == "average"):
        key = (mean["space"], mean["distance"])
        same = [row for row in rows if (row["space"], row["distance"]) == key]
        parts = [float(row["silhouette"]) for row in same if row["pool"] != "average"]
        assert len(parts) == 3
        assert float(mean["silhouette"]) == pytest.approx(statistics.mean(parts), abs=1e-12)
    clusters = [float(r["silhouette"]) for r in rows if r["space"] == "delta_activations"]
    assert min(clusters) > 0.5
    assert (folder / "results/tables/main.md").is_file()
    model = folder / "results/models/ASethi04--gemma-2-9b-opc-third"
    assert (
        "Fetched from ASethi04/gemma-2-9b-opc-third at the commit"
        in (model / "README.md").read_text()
    )
    assert litter(folder) == []


def parquet(rows: list[dict]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def tsv(rows: list[dict]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter="\t")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def test_the_rows_to_train_on_come_from_the_hub(tmp_path):
    folder = checkout(tmp_path / "checkout")
    numbers, many = range(30), range(300)
    # Repository, file, content, rows in the first third of the published region, a completion.
    sources = {
        "gsm8k-train": (
            "openai/gsm8k", "main/train-00000-of-00001.parquet",
            parquet([{"question": f"{i}+1?", "answer": f"#### {i + 1}"} for i in numbers]),
            8, " #### 1",
        ),
        "hellaswag-train": (
            "Rowan/hellaswag", "data/train-00000-of-00001.parquet",
            parquet([{"ind": i, "ctx": f"A man {i}", "endings": list("wxyz"), "label": "2"}
                     for i in numbers]),
            10, " \n\nThe correct answer is: y\n###\nC",
        ),
        "privacy_policy_qa-test": (
            "nguha/legalbench", "data/privacy_policy_qa/test.tsv",
            tsv([{"index": i, "answer": "Relevant", "question": f"q {i}", "text": 'a "b"\tc'}
                 for i in numbers]),
            8, " The correct answer is relevant.",
        ),
        "pubmedqa-unlabeled": (
            "qiaojin/PubMedQA", "pqa_unlabeled/train-00000-of-00001.parquet",
            parquet([{"pubid": i, "question": f"q {i}", "long_answer": "Yes.",
                      "context": {"contexts": ["a", "b"], "labels": ["A", "B"]}} for i in many]),
            10, " Yes.",
        ),
        "opc-educational": (
            "OpenCoder-LLM/opc-sft-stage2", "educational_instruct/train-00000-of-00001.parquet",
            parquet([{"seq_id": i, "instruction": f"Do {i}", "output": "x = 1\n"} for i in many]),
            8, "\nx = 1",
        ),
    }  # fmt: skip
    with Hub() as hub:
        for repo, name, content, _, _ in sources.values():
            hub.commit(repo, {name: content}, kind="dataset")
        snakemake(
            folder, *[f"results/datasets/{name}/first.jsonl" for name in sources], "--cores", "2",
            config="config/paper.yaml", **hub.environment(),
        )  # fmt: skip
    for name, (*_, count, completion) in sources.items():
        text = (folder / f"results/datasets/{name}/first.jsonl").read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
        assert [row["row"] for row in rows] == list(range(count)), name
        assert all(row["prompt"].endswith("### Response:") for row in rows)
        assert rows[0]["completion"] == completion
        assert len({row["prompt"] for row in rows}) == count
        record = read_json(folder / f"results/sources/datasets/{name}.json")
        assert re.fullmatch(r"[0-9a-f]{40}", record["origin"]["hub"]["commit"])
