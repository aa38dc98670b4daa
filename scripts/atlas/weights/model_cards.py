"""Model cards, as Hugging Face reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from atlas.files import write_bytes


def write_card(
    path: Path,
    *,
    name: str,
    base: Mapping[str, Any],
    address: str,
    revision: str | None,
    adapter: bool,
    origin: str,
    datasets: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    digests: Mapping[str, str] | None = None,
    sentence: str = "",
    folder: str = "results/models",
    seq2seq: bool = False,
) -> None:
    """Write README.md of a model.

    :param base: the record of the base (base.json).
    :param address: what the base is loaded by.
    :param origin: how the model came about, in words.
    :param datasets: datasets it was trained on, name (on a hub: repository) -> licence.
    :param settings: recipe and seed.
    :param digests: what it is made of, name -> SHA-256.
    :param folder: where the model's own folder stands.
    :param seq2seq: whether it is a sequence-to-sequence model.
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
    lines += [f"# {name}", ""]
    lines += [*([sentence, ""] if sentence else []), origin, ""]
    if adapter:
        lines += [
            "```python", "from peft import PeftModel",
            f"from transformers import {loader}", "",
            f'base = {loader}.from_pretrained("{address}")',
            f'model = PeftModel.from_pretrained(base, "{folder}/{name}")', "```", "",
        ]  # fmt: skip
    else:
        lines += [
            "```python", f"from transformers import {loader}", "",
            f'model = {loader}.from_pretrained("{folder}/{name}")', "```", "",
        ]  # fmt: skip
    if settings:
        lines += ["## Training", "", "| key | value |", "|---|---|"]
        lines += [f"| {key} | {value} |" for key, value in sorted(settings.items())] + [""]
    if datasets:
        lines += ["## Data", "", "| dataset | licence |", "|---|---|"]
        lines += [f"| {key} | {value} |" for key, value in sorted(datasets.items())] + [""]
    if digests:
        lines += ["## Digests (SHA-256)", "", "| what | digest |", "|---|---|"]
        lines += [f"| {key} | `{value}` |" for key, value in sorted(digests.items())] + [""]
    file = "adapter_model.safetensors" if adapter else "config.json"
    lines += [
        "Where each of these came from: `python scripts/lineage.py trace "
        f"{folder}/{name}/{file}`", "",
    ]  # fmt: skip
    write_bytes(path, "\n".join(lines).encode())
