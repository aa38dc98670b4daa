"""Model cards as a hub takes them: of models, fitted to their repository, and of deltas."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from atlas.errors import AtlasError
from atlas.files import read_json

CARD = "README.md"
# How a delta whose tensors are all stored whole is added; else its description is needed.
DENSE = """\
```python
import torch
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file

delta = load_file(hf_hub_download("REPO", "delta.safetensors"))
weights = model.state_dict()  # of a model trained from the base
with torch.no_grad():
    for name, change in delta.items():
        weights[name].copy_(weights[name].float() + change.float())
```
"""
OTHERWISE = "`delta_meta.json` says of each tensor how it is stored.\n"
Origins = Mapping[str, Mapping[str, str | None]]  # base, instruct -> address, revision, licence
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)?")


def fitted_card(text: str, path: str, repo: str) -> bytes:
    """The card of a model for its repository.

    Bases and datasets that are on no hub are left out of the head: the hub refuses a card that
    names a folder there. The example loads from the repository.

    :param path: folder of the model below results/.
    :raises AtlasError: for a card without a head.
    """
    parts = text.split("---\n", 2)
    head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else None
    if not isinstance(head, dict):
        raise AtlasError(f"results/{path}/{CARD}: does not begin with YAML between two lines ---.")
    if not _REPO.fullmatch(str(head.get("base_model", ""))):
        head.pop("base_model", None)
        head.pop("base_model_revision", None)
    datasets = [name for name in head.pop("datasets", []) if _REPO.fullmatch(name)]
    if datasets:
        head["datasets"] = datasets
    return _joined(head, parts[2].replace(f'"results/{path}"', f'"{repo}"').lstrip("\n"))


def delta_card(meta: Path, name: str, repo: str, origins: Origins) -> bytes:
    """The card of an instruction delta, from its delta_meta.json and what is known of its origins."""
    known = read_json(meta)
    if not isinstance(known, dict):
        raise AtlasError(f"{meta}: is not a description of a delta.")
    called = {}
    for role, otherwise in (("base", "its base"), ("instruct", "an instruct model")):
        found = known.get(role, {}).get("name") or origins.get(role, {}).get("address")
        called[role] = f"`{found}`" if found else otherwise
    kinds = {entry.get("storage") for entry in known.get("tensors", {}).values()}
    use = DENSE.replace("REPO", repo) if kinds == {"dense"} else OTHERWISE
    settings = {k: known[k] for k in ("dtype", "keep", "rank") if known.get(k) is not None}
    for kind, dtype in known.get("dtypes", {}).items():
        settings[f"dtype of {kind}"] = dtype
    stored = {called[role]: ", ".join(f"{k} {v}" for k, v in sorted(entry.items()) if v)
              for role, entry in origins.items() if role in called}  # fmt: skip
    digests = {what: f"`{digest}`" for what, digest in _digests(known)}
    body = (
        f"# {name}\n\nAn instruction delta: the weights of {called['instruct']} minus those of "
        f"{called['base']}, tensor by tensor.\n\n## Use\n\nIt fits models that were trained from "
        "exactly this base, whose digest is below. With Delta Atlas, "
        f"`results/merged/MODEL+{name}/` is the model MODEL with this delta added.\n\n{use}"
        + _table("## Storage", "key", settings)
        + _table("## Origins", "model", stored)
        + _table("## Digests (SHA-256)", "what", digests)
    )
    return _joined(_delta_head(origins), body)


def _delta_head(origins: Origins) -> dict[str, Any]:
    head: dict[str, Any] = {"tags": ["delta-atlas", "instruction-delta"]}
    addresses = [str(entry.get("address")) for entry in origins.values()]
    if bases := [address for address in addresses if _REPO.fullmatch(address) and "/" in address]:
        head["base_model"] = bases
    licences = {entry.get("licence") for entry in origins.values()}
    # A delta holds of both; which of two licences it is under is not ours to say.
    if len(licences) == 1 and (licence := licences.pop()):
        head["license"] = licence
    return head


def _digests(known: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Every SHA-256 that a description holds, and what it is of."""
    for key, value in sorted(known.items()):
        if isinstance(value, dict):
            yield from _digests(value, f"{before}{key} ")
        elif isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
            yield (f"{before}{key.removesuffix('sha256').rstrip('_')}".strip(), value)


def _table(title: str, key: str, rows: Mapping[str, Any]) -> str:
    lines = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    return f"\n{title}\n\n| {key} | value |\n|---|---|\n{lines}" if rows else ""


def _joined(head: Mapping[str, Any], body: str) -> bytes:
    written = yaml.safe_dump(dict(head), sort_keys=True, allow_unicode=True)
    return f"---\n{written}---\n\n{body}".encode()
