"""Model cards, as Hugging Face reads them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from atlas.files import write_bytes

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+")


def write_card(
    path: Path, *, name: str, base: Mapping[str, Any], address: str, revision: str | None,
    adapter: bool, origin: str, datasets: Mapping[str, str] | None = None, languages: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None, digests: Mapping[str, str] | None = None,
    sentence: str = "", folder: str = "results/models", seq2seq: bool = False
) -> None:  # fmt: skip
    """Write README.md of a model.

    A base that is on no hub is its ``base_model_path``, for a hub refuses a path as ``base_model``. The
    example has the base as it was.

    :param base: the record of the base (base.json). :param address: what the base is loaded by.
    :param origin: how the model came about, in words. :param settings: recipe and seed.
    :param datasets: datasets it was trained on, name (on a hub: repository) -> licence.
    :param digests: what it is made of, name -> SHA-256.
    :param languages: of the datasets (ISO 639), as far as they are named.
    :param folder: where the model's own folder stands.
    """
    loader = "AutoModelForSeq2SeqLM" if seq2seq else "AutoModelForCausalLM"
    head: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "license": base["licence"],
        "pipeline_tag": "text2text-generation" if seq2seq else "text-generation",
        "tags": ["delta-atlas"],
    }
    commit = base.get("origin", {}).get("hub", {}).get("commit", revision)
    if is_repository(address):
        made = "merge" if folder == "results/merged" else "finetune"
        head |= {"base_model": address, "base_model_relation": "adapter" if adapter else made}
        if commit:
            head["base_model_revision"] = commit
    else:
        head["base_model_path"] = address
    if datasets:
        head["datasets"] = sorted(datasets)
    if languages:
        head["language"] = sorted(set(languages))
    lines = ["---", yaml.safe_dump(head, sort_keys=True, allow_unicode=True).rstrip(), "---", ""]
    lines += [f"# {name}", "", *([sentence, ""] if sentence else []), origin, "", "```python"]
    load = [f"from transformers import {loader}", ""]
    if adapter:
        lines += ["from peft import PeftModel", *load]
        at = f', revision="{commit}"' if commit and is_repository(address) else ""
        lines += [f'base = {loader}.from_pretrained("{address}"{at})']
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


def is_repository(name: str) -> bool:
    """Whether a name is one of a repository on a hub: ``organisation/name``."""
    return _REPOSITORY.fullmatch(name) is not None
