from __future__ import annotations

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from atlas.activations.generation import generate_shard
from atlas.activations.probes import read_probes
from atlas.files import read_jsonl
from unit.conftest import load

NEW_TOKENS = 8


def generate(path, probes, tiny_base, pool, names=None, **more):
    generate_shard(
        probes=probes, bases=tiny_base, weights=[f for files in pool.values() for f in files],
        models=[{"name": n, "base": "tiny"} for n in names or pool], dtypes={"tiny": "float32"},
        base_names={"tiny": ["tiny"]}, new_tokens=NEW_TOKENS, sentences=path, **more,
    )  # fmt: skip
    return path


def plainly(network, tokenizer, prompt):
    """Greedy decoding without a cache, a token at a time."""
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    start = ids.shape[1]
    for _ in range(NEW_TOKENS):
        with torch.inference_mode():
            best = network(input_ids=ids).logits[0, -1].argmax()
        ids = torch.cat([ids, best.reshape(1, 1)], dim=1)
        if best == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_greedy_continuations(tmp_path, probes, tiny_base, base_folder, mixed_pool, lora_pool):
    # Those of lora_pool write together, and each of mixed_pool alone.
    pool = {**mixed_pool, **lora_pool}
    path = generate(tmp_path / "a.jsonl", probes, tiny_base, pool)
    rows = read_jsonl(path)
    assert [(r["model"], r["probe"]) for r in rows] == [
        (name, i) for name in sorted(pool) for i in range(3)
    ]
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    for row in rows:
        folder = pool[row["model"]][0].parent
        if row["model"] == "full":
            network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        else:
            network = PeftModel.from_pretrained(load(base_folder), folder).eval()
        assert row["text"] == plainly(network, tokenizer, read_probes(probes)[row["probe"]])
    assert len({row["text"] for row in rows}) > 4


def test_the_order_of_models_changes_no_byte(tmp_path, probes, tiny_base, mixed_pool):
    one = generate(tmp_path / "a", probes, tiny_base, mixed_pool)
    other = generate(tmp_path / "b", probes, tiny_base, mixed_pool, sorted(mixed_pool)[::-1])
    assert one.read_bytes() == other.read_bytes()


def test_who_writes_beside_it_changes_no_text(tmp_path, probes, tiny_base, lora_pool):
    together = read_jsonl(generate(tmp_path / "all", probes, tiny_base, lora_pool))
    for name, files in lora_pool.items():
        alone = read_jsonl(generate(tmp_path / name, probes, tiny_base, {name: files}))
        assert alone == [row for row in together if row["model"] == name]
