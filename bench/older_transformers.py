"""Whether an older transformers opens what is written here, with the same numbers.

    python bench/older_transformers.py --python PYTHON            # interpreter that has the older one
    python bench/older_transformers.py --python PYTHON --folders results/sources/bases/*

Random bases of each family, what becomes of one (a full model, adapters, a base with an adapter in it,
a merged model, an encoder), and the folders that are named, are written or read by the libraries here;
the other interpreter then opens them by itself. Compared are logits (float32, of the largest one), the
tokens of a conversation or a text, and the text of tokens. Exits 1 where a folder does not open, or with
other numbers, though the card of a model of it names that version or an older one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5  # of logits, relative to the largest
TEXT = "How are you , friend ? It 's fine."
SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.1,
    "tie_word_embeddings": False,
}  # fmt: skip
HEADS = {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}
GPT2 = {"n_positions": 256, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.1}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}


def rope(kind: str = "default", **more: Any) -> dict[str, Any]:
    """Positions that no architecture has by default."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 777.0, **more}}


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}  # fmt: skip
LAYERS = {"full_attention": rope()["rope_parameters"],
          "sliding_attention": {"rope_type": "default", "rope_theta": 333.0}}  # fmt: skip
WINDOW = SIZES | {"head_dim": 8, "sliding_window": 16}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SIZES | rope()),
    "llama, scaled": ("llama", SIZES | rope("llama3", **LLAMA3)),
    "mistral": ("mistral", SIZES | rope() | {"sliding_window": 16}),
    "mixtral": ("mixtral", SIZES | rope() | {"num_local_experts": 4}),
    "qwen2": ("qwen2", SIZES | rope()),
    "qwen2, yarn": ("qwen2", SIZES | rope("yarn", factor=4.0, original_max_position_embeddings=64)),
    "qwen3": ("qwen3", SIZES | rope() | {"head_dim": 8}),
    "qwen3_moe": ("qwen3_moe", SIZES | rope() | EXPERTS),
    "gemma": ("gemma", SIZES | rope() | {"head_dim": 8}),
    "gemma2": ("gemma2", WINDOW | rope()),
    "gemma3_text": ("gemma3_text", WINDOW | {"rope_parameters": LAYERS}),
    "olmo2": ("olmo2", SIZES | rope()),
    "olmo3": ("olmo3", WINDOW | {"rope_parameters": dict.fromkeys(LAYERS, rope()["rope_parameters"])}),
    "phi": ("phi", SIZES | rope(partial_rotary_factor=0.5)),
    "phi3": ("phi3", SIZES | rope()),
    "gpt2": ("gpt2", GPT2),
    "gpt_neox": ("gpt_neox", HEADS | rope(partial_rotary_factor=0.5)),
    "opt": ("opt", {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2,
                    "num_attention_heads": 4, "word_embed_proj_dim": 32}),
    "bloom": ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.1}),
    "falcon": ("falcon", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                          "initializer_range": 0.1} | rope()),
    "t5": ("t5", T5),
}  # fmt: skip


def read(folder: Path, base: str | None) -> dict[str, Any]:
    """What the transformers of this process makes of a folder."""
    import transformers as tf

    config = tf.AutoConfig.from_pretrained(base or folder)
    kind = tf.AutoModelForSeq2SeqLM if config.is_encoder_decoder else tf.AutoModelForCausalLM
    kind = tf.AutoModel if config.model_type == "bert" else kind
    network = kind.from_pretrained(base or folder, torch_dtype=torch.float32).eval()
    if base:
        from peft import PeftModel

        network = PeftModel.from_pretrained(network, folder).eval()
    tokenizer = tf.AutoTokenizer.from_pretrained(base or folder)
    ids = tokenizer(TEXT).input_ids[:64]
    given = {"input_ids": torch.tensor([ids])}
    if config.is_encoder_decoder:
        given["decoder_input_ids"] = given["input_ids"]
    with torch.inference_mode():
        found = network(**given)
    logits = found.last_hidden_state if kind is tf.AutoModel else found.logits
    turns = [{"role": "user", "content": TEXT}]
    chat = bool(tokenizer.chat_template) and tokenizer.apply_chat_template(turns, tokenize=False)
    return {"logits": logits[0].tolist(), "ids": ids, "chat": chat, "text": tokenizer.decode(ids),
            "keys": sorted(tokenizer(TEXT)), "special": sorted(tokenizer.all_special_tokens)}  # fmt: skip


def work(asked: str) -> None:
    """Read what standard input lists, `[folder, base]` each; print what was found as JSON lines."""
    for folder, base in json.loads(asked):
        try:
            found = read(Path(folder), base)
        except Exception as error:  # whatever a library says of a file that it does not know
            found = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print("\n" + json.dumps(found), flush=True)


def asked_of(python: str, wanted: Sequence[tuple[Path, Path | None]]) -> list[dict[str, Any]]:
    """What the transformers of an interpreter makes of each folder."""
    text = json.dumps([[str(folder), base and str(base)] for folder, base in wanted])
    done = subprocess.run(
        [python, __file__, "--work"], input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def written(place: Path, families: Sequence[str]) -> Iterator[tuple[str, Path, Path | None]]:
    """Name, folder, and (of an adapter) folder of its base, of what is written here.

    :param families: of FAMILIES; llama, of which there is more than the base, is one of them.
    """
    from unit.conftest import make_base
    from unit.deltas import instruction_models as deltas
    from unit.sources.test_bases import derive
    from unit.sources.test_encoders import fetch
    from unit.training.test_fine_tuning import train

    for number, name in enumerate(families):
        family, config = FAMILIES[name]
        folder = place / f"base{number}"
        source = {"architecture": family, "seed": number, "config": config}
        make_base(folder, {"random": source})
        yield f"base: {name}", folder, None
    base = place / "base0"
    yield "encoder: bert", fetch(place / "encoder")[0].parent, None
    for kind in ("sft-full", "sft-lora", "sft-ia3"):
        train(place / kind, deltas.files(base), kind)
        yield f"trained: {kind}", place / kind / "m", None if kind == "sft-full" else base
    lora = deltas.files(place / "sft-lora" / "m")
    into = derive(deltas.files(base), lora, True, place / "into")[0].parent
    yield "base with a trained adapter in it", into, None
    base, instruct, model = deltas.family(place / "delta", {"random": {
        "architecture": "llama", "seed": 1, "config": FAMILIES["llama"][1]}})  # fmt: skip
    delta = deltas.delta_of(base, instruct, place / "delta" / "made")
    yield "merged model", deltas.merge(model, base, instruct, delta, place / "delta" / "out"), None


def compared(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[float, list[str]]:
    """Largest difference of the logits, relative to the largest logit; and what else differs."""
    here, there = (torch.tensor(found["logits"], dtype=torch.float64) for found in (ours, theirs))
    if here.shape != there.shape:
        return float("inf"), ["ids"]
    others = [key for key in ours if key != "logits" and ours[key] != theirs[key]]
    return float((here - there).abs().max() / here.abs().max()), others


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, read twice, print a table.

    :returns: the exit status.
    """
    parser = argparse.ArgumentParser(description="What an older transformers opens.")
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter that has the older one"
    )
    parser.add_argument("--small", action="store_true", help="of the families, llama alone")
    parser.add_argument("--folders", nargs="*", default=[], type=Path, help="more models or bases")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.work:
        work(sys.stdin.read())
        return 0
    sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]
    libraries = ("transformers", "peft", "tokenizers", "torch")
    shown = f"from importlib.metadata import version; print(*map(version, {libraries}))"
    command = [options.python, "-c", shown]
    older = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    there = older.stdout.split()
    print("here ", *(f"{name} {version(name)}" for name in libraries))
    print("there", *(f"{name} {found}" for name, found in zip(libraries, there, strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        families = ["llama"] if options.small else list(FAMILIES)
        found = [*written(Path(folder), families), *((str(f), f, None) for f in options.folders)]
        wanted = [(place, base) for _, place, base in found]
        pairs = zip(asked_of(sys.executable, wanted), asked_of(options.python, wanted), strict=True)
        wrong = sum(row(what, *pair, there[0]) for what, pair in zip(found, pairs, strict=True))
    return 1 if wrong else 0


def row(
    what: tuple[str, Path, Path | None], ours: dict[str, Any], theirs: dict[str, Any], there: str
) -> bool:
    """Print one line.

    :param there: version of the older transformers.
    :returns: whether it is not as the least version of the base promises.
    """
    from atlas.files import read_json
    from atlas.weights.portable_settings import least_transformers

    name, folder, base = what
    least = least_transformers(read_json((base or folder) / "config.json"))
    if error := ours.get("error") or theirs.get("error"):
        right, shown = False, f"not opened: {error[:110]}"
    else:
        difference, others = compared(ours, theirs)
        right = difference <= TOLERANCE and not others
        shown = f"logits {difference:.1e}  {', '.join(others) or 'tokens equal'}"
    broken = not right and Version(there) >= Version(least)
    print(f"{name:36} least {least:8} {shown}{'  BROKEN' if broken else ''}")
    return broken


if __name__ == "__main__":
    sys.exit(main())
