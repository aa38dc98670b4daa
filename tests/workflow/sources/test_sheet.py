"""A pool of models made elsewhere: a TSV and a few lines."""

import csv
import json
import shutil

import numpy as np
import pytest
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from micro import lineage, micro, micro_config, snakemake, write_config

pytestmark = pytest.mark.workflow


def test_a_sheet_of_adapters_from_folders(finished, tmp_path):
    folder = micro(tmp_path / "checkout")
    lines = ["model\tsource\tbase\tdomain"]
    for domain in ("alpha", "beta"):
        for split in ("first", "second"):
            source = finished / f"results/models/micro-{domain}-{split}"
            shutil.copytree(source, folder / f"found/{domain} {split}")
            lines.append(f"org/{domain}-{split}\t./found/{domain} {split}\tmicro\t{domain}")
    (folder / "mine.tsv").write_text("\n".join(lines) + "\n")
    config = micro_config()
    config["pools"]["mine"] = {"sheet": "mine.tsv", "spaces": ["delta_activations"], "shards": 2}
    write_config(folder, config)
    snakemake(folder, "results/pools/mine/neighbours.csv", "--cores", "2")
    with (folder / "results/pools/mine/neighbours.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {row["model"] for row in rows} == {
        f"org--{d}-{s}" for d in ("alpha", "beta") for s in ("first", "second")
    }
    # The same adapters give the same embeddings, whatever they are called and however sharded.
    one = np.load(finished / "results/pools/micro/delta_activations/embeddings.npz")
    two = np.load(folder / "results/pools/mine/delta_activations/embeddings.npz")
    assert np.array_equal(one["embeddings"], two["embeddings"])
    assert [n.replace("micro-", "org--") for n in one["model_names"]] == list(two["model_names"])


@pytest.fixture
def mixed(copy):
    """A sheet of an adapter, one that PEFT applies, a full model in parts, and three that are wrong."""
    base = AutoModelForCausalLM.from_pretrained(copy / "results/sources/bases/micro")
    first = copy / "results/models/micro-alpha-first"
    merged = PeftModel.from_pretrained(base, first).merge_and_unload()
    merged.save_pretrained(copy / "found/full", max_shard_size="100KB")
    for name, settings in {
        "dora": {"use_dora": True},
        "odd": {"init_lora_weights": "pissa_niter_4"},
    }.items():
        shutil.copytree(first, copy / "found" / name)
        file = copy / "found" / name / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    weights = copy / "found/dora/adapter_model.safetensors"
    tensors = load_file(weights)
    with safe_open(weights, "pt") as handle:
        metadata = handle.metadata()
    network = dict(base.named_parameters())
    for name in [name for name in tensors if "lora_A" in name]:
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        norms = network[f"{module}.weight"].norm(dim=1)
        tensors[name.replace("lora_A.weight", "lora_magnitude_vector")] = norms * 1.1
    save_file(tensors, weights, metadata)
    rows = {"lora": (first, ""), "dora": ("./found/dora", ""), "full": ("./found/full", "full"),
            "odd": ("./found/odd", ""), "wrong": ("./found/full", ""),
            "gone": ("./found/gone", "")}  # fmt: skip
    lines = [f"{name}\t{source}\tmicro\t{'ab'[i % 2]}\t{kind}"
             for i, (name, (source, kind)) in enumerate(rows.items())]  # fmt: skip
    (copy / "mine.tsv").write_text("\n".join(["model\tsource\tbase\tdomain\tkind", *lines]) + "\n")
    return copy


def test_what_is_wrong_with_a_pool_is_told_together_and_first(mixed):
    def run(*excluded):
        config = micro_config()
        config["pools"]["mine"] = {"sheet": "mine.tsv", "spaces": ["delta_activations", "salient_mask"],
                                   "excluded": list(excluded)}  # fmt: skip
        write_config(mixed, config)
        made = [f"results/pools/mine/{name}" for name in ("navigator.html", "silhouette.csv")]
        return snakemake(mixed, *made, "--cores", "2", "-p", check=False)

    stopped = run()
    assert stopped.returncode != 0
    for told in ("3 of 6 models of mine cannot be used.", " odd: pissa_niter_4 changed",
                 "wrong: found/full: has no adapter_config.json; it is a full model",
                 "gone: found/gone: there is no such folder", "excluded: [gone, odd, wrong]"):  # fmt: skip
        assert told in stopped.stdout, stopped.stdout
    assert not list(mixed.glob("results/models/lora"))
    done = run("odd", "wrong", "gone")
    assert done.returncode == 0, done.stdout
    assert "check_shard" not in done.stdout
    assert "Nothing to be done" in run("odd", "wrong", "gone").stdout
    found = np.load(mixed / "results/pools/mine/delta_activations/embeddings.npz")
    assert list(found["model_names"]) == ["dora", "full", "lora"]
    one, full, lora = found["embeddings"]
    np.testing.assert_allclose(full, lora, rtol=0, atol=1e-5 * np.abs(lora).max())
    assert np.abs(one - lora).max() > 0.01 * np.abs(lora).max()
    assert lineage(mixed, "verify").returncode == 0
