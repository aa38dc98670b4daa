"""Model cards, as Hugging Face reads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from atlas.files import write_bytes


def write_card(
    path: Path, *, name: str, base: Mapping[str, Any], address: str, revision: str | None,
    adapter: bool, origin: str, datasets: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None, digests: Mapping[str, str] | None = None,
    sentence: str = "", folder: str = "results/models", seq2seq: bool = False
) -> None:  # fmt: skip
    """Write README.md of a model.

    :param base: the record of the base (base.json). :param address: what the base is loaded by.
    :param origin: how the model came about, in words. :param settings: recipe and seed.
    :param datasets: datasets it was trained on, name (on a hub: repository) -> licence.
    :param digests: what it is made of, name -> SHA-256.
    :param folder: where the model's own folder stands.
    """
    loader = "AutoModelForSeq2SeqLM" if seq2seq else "AutoModelForCausalLM"
    head: dict[str, Any] = {
        "base_model": address,
        "library_name": "peft" if adapter else "transformers",
        "license": base["licence"],
        "tags": ["delta-atlas"],
    }
    commit = base.get("origin", {}).get("hub", {}).get("commit", revision)
    if commit:
        head["base_model_revision"] = commit
    if datasets:
        head["datasets"] = sorted(datasets)
    lines = ["---", yaml.safe_dump(head, sort_keys=True, allow_unicode=True).rstrip(), "---", ""]
    lines += [f"# {name}", "", *([sentence, ""] if sentence else []), origin, "", "```python"]
    load = [f"from transformers import {loader}", ""]
    if adapter:
        lines += ["from peft import PeftModel", *load]
        lines += [f'base = {loader}.from_pretrained("{address}")']
        lines += [f'model = PeftModel.from_pretrained(base, "{folder}/{name}")', "```", ""]
    else:
        lines += [*load, f'model = {loader}.from_pretrained("{folder}/{name}")', "```", ""]
    if least := base.get("transformers"):
        lines += [
            f"Needs transformers {least} or later; older ones fail, or compute other numbers.",
            "",
        ]
    quoted = {key: f"`{value}`" for key, value in (digests or {}).items()}
    for title, what, value, rows in (
        ("Training", "key", "value", settings),
        ("Data", "dataset", "licence", datasets),
        ("Digests (SHA-256)", "what", "digest", quoted),
    ):
        if rows:
            lines += [f"## {title}", "", f"| {what} | {value} |", "|---|---|"]
            lines += [f"| {key} | {entry} |" for key, entry in sorted(rows.items())] + [""]
    file = f"{folder}/{name}/{'adapter_model.safetensors' if adapter else 'config.json'}"
    trace = f"`python scripts/lineage.py trace {file}`"
    write_bytes(path, "\n".join([*lines, f"Where each of these came from: {trace}", ""]).encode())
